package herald

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
)

// Tests are those of a package: *testing.M.
type Tests interface{ Run() int }

// Main is the body of a TestMain that needs root. It runs a package's tests, which play as they wish, and exits.
func Main(play func(context.Context) (code int, err error)) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make a cluster of network namespaces, which takes root: run them with sudo")
		os.Exit(1)
	}
	code, err := play(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "set the tests up:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// Stage is a lab that all tests of a package share.
type Stage struct {
	Lab lab.Options
	// SetUp is called once, in a lab that is new.
	SetUp func(context.Context, *lab.Lab) error
	// Enter is called each time before the tests, in a lab that may have been kept.
	Enter func(context.Context, *lab.Lab) error
}

// Main is the body of a TestMain. It takes the lab down after the tests, unless the flag -keep says otherwise.
func (s Stage) Main(tests Tests) {
	keep := flag.Bool("keep", false, "use the lab that an earlier run has kept, if there is one, and keep it")
	flag.StringVar(&s.Lab.Name, "lab", s.Lab.Name, "the lab's name")
	s.Lab.Steps = os.Stdout
	Main(func(ctx context.Context) (code int, err error) {
		if !*keep {
			defer func() { err = errors.Join(err, lab.Down(ctx, s.Lab.Name)) }()
		}
		cluster, err := s.cluster(ctx, *keep)
		if err != nil {
			return 0, err
		}
		if err := s.Enter(ctx, cluster); err != nil {
			return 0, err
		}
		return tests.Run(), nil
	})
}

func (s Stage) cluster(ctx context.Context, kept bool) (*lab.Lab, error) {
	if kept {
		if cluster, err := lab.Open(ctx, s.Lab.Name); !errors.Is(err, lab.ErrDown) {
			return cluster, err
		}
	}
	cluster, err := lab.Up(ctx, s.Lab)
	if err != nil {
		return nil, err
	}
	return cluster, s.SetUp(ctx, cluster)
}

// Programs are what light nodes run for Herald's images: what make build has made in the repository with this root.
func Programs(root string) map[string]string {
	programs := map[string]string{}
	for _, name := range []string{"controller", "speaker"} {
		programs["ghcr.io/herald-lb/"+name] = filepath.Join(root, "build", "bin", name)
	}
	return programs
}

// InstallLight installs Herald on light nodes, which need no images.
func InstallLight(ctx context.Context, l *lab.Lab, root string) error {
	if err := l.ApplyFile(ctx, Manifest(root)); err != nil {
		return err
	}
	return AwaitReady(ctx, l)
}

// Furnish applies pools and the like, and starts three pods that answer, which the label app=web selects.
func Furnish(ctx context.Context, l *lab.Lab, objects string) error {
	if err := l.Apply(ctx, objects+"---\n"+manifests.Web); err != nil {
		return err
	}
	return l.AwaitRollout(ctx, "default", "deployment/web")
}
