//go:build e2e

package admission

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// root is the repository's.
const root = "../.."

// cluster is the lab that all tests share: both replicas run, and the configuration is there.
var cluster *lab.Lab

// configuration is what all changes are held against.
//
//go:embed testdata/configuration.yaml
var configuration string

func TestMain(m *testing.M) {
	// Nobody announces anything here: speakers are pods that do nothing.
	programs := herald.Programs(root)
	delete(programs, "ghcr.io/herald-lb/speaker")
	herald.Stage{Lab: lab.Options{Name: "admission", Nodes: 2, Light: true, Programs: programs}, SetUp: setUp, Enter: enter}.Main(m)
}

func setUp(ctx context.Context, l *lab.Lab) error { return l.ApplyFile(ctx, herald.Manifest(root)) }

func enter(ctx context.Context, l *lab.Lab) error {
	cluster = l
	if err := awaitReviews(ctx); err != nil {
		return err
	}
	return l.Apply(ctx, configuration)
}

// awaitReviews waits until all replicas are ready and the API server asks them: the configuration is read as a whole, so
// that what is wrong by itself alone is refused too.
func awaitReviews(ctx context.Context) error {
	if err := cluster.AwaitRollout(ctx, herald.Namespace, "deployment/controller"); err != nil {
		return err
	}
	return herald.Await(ctx, "changes to be reviewed", func(ctx context.Context) error {
		output, err := kubectl(ctx, "L2Advertisement elsewhere default {}", "create", "--dry-run=server")
		if err == nil || !strings.Contains(output, "resource must be created in metallb-system namespace") {
			return fmt.Errorf("a change is answered with %q", output)
		}
		return nil
	})
}

// kubectl runs it on an object, "KIND NAME NAMESPACE SPEC", and returns all that it says.
func kubectl(ctx context.Context, object string, args ...string) (string, error) {
	part := strings.SplitN(object, " ", 4)
	version := "v1beta1"
	if kind, old := strings.CutSuffix(part[0], "/v1beta1"); old {
		part[0] = kind
	} else if part[0] == "BGPPeer" {
		version = "v1beta2"
	}
	manifest := fmt.Sprintf("{apiVersion: metallb.io/%s, kind: %s, metadata: {name: %s, namespace: %s}, spec: %s}", version, part[0], part[1], part[2], part[3])
	return on(cluster.Kubectl(ctx, append(args, "-f", "-")...), manifest)
}

func on(command *exec.Cmd, input string) (string, error) {
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	return string(output), err
}

// begin gives a test its time, which is generous: it ends tests that hang, and judges nothing.
func begin(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
