package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/herald-lb/herald/e2e/binaries"
)

func (l *Lab) programsDir() string { return filepath.Join(l.dir(), "programs") }

// writePrograms copies what light nodes run for images to where they see it, with the list that says which is which. The
// lab's own workload is always there.
func (l *Lab) writePrograms(programs map[string]string) error {
	if err := os.MkdirAll(l.programsDir(), 0o755); err != nil {
		return err
	}
	web, _, _ := strings.Cut(binaries.WebImage, ":")
	list := fmt.Sprintf("%s %s\n", web, inNode(l.set.Cache, l.set.Web))
	for image, program := range programs {
		name := strings.ReplaceAll(image, "/", "_")
		if err := copyFile(program, filepath.Join(l.programsDir(), name), 0o755); err != nil {
			return fmt.Errorf("copy the program of image %s: %w", image, err)
		}
		list += fmt.Sprintf("%s /run/lab/programs/%s\n", image, name)
	}
	return os.WriteFile(filepath.Join(l.programsDir(), "list"), []byte(list), 0o644)
}
