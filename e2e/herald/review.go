package herald

import (
	"context"
	"fmt"
	"strings"

	"github.com/herald-lb/herald/e2e/lab"
)

// AwaitRefusal waits until Herald's webhook refuses the creation of an object, with these words: until then it may have
// been accepted, as nobody reviewed it. Nothing is stored.
func AwaitRefusal(ctx context.Context, l *lab.Lab, object, words string) error {
	return Await(ctx, "a refusal", func(ctx context.Context) error {
		create := l.Kubectl(ctx, "create", "--dry-run=server", "--filename", "-")
		create.Stdin = strings.NewReader(object)
		output, err := create.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "validationwebhook.metallb.io\" denied the request: ") || !strings.Contains(string(output), words) {
			return fmt.Errorf("kubectl says %q", output)
		}
		return nil
	})
}
