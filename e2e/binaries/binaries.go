// Package binaries makes what the lab runs: the programs of a Kubernetes cluster, built from the modules below e2e/bin
// and kept in a cache outside the tree, and the tools that it takes from Debian.
package binaries

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/herald-lb/herald/e2e/filelock"
)

// Set is everything built: directories for PATH and for CNI, and the image archives that nodes start with.
type Set struct {
	Cache  string   // holds all of the others
	Path   []string // directories of programs
	CNI    string   // the directory of network plugins
	Images []string // archives
	Web    string   // the program in the web image

	source string // the module that holds this package
}

// LookPath finds one of the programs.
func (s Set) LookPath(program string) string {
	for _, dir := range s.Path {
		if file := filepath.Join(dir, program); exists(file) {
			return file
		}
	}
	return program
}

// module is one module below e2e/bin, and how to build the tools that its go.mod names.
type module struct {
	name string
	args []string // to go build
	env  []string
}

const kubernetesVersion = "k8s.io/component-base/version"

// modules are built in this order, the one that takes minutes last.
var modules = []module{
	{name: "etcd"},
	{name: "cni"},
	{name: "runc", args: []string{"-tags=seccomp"}, env: []string{"CGO_ENABLED=1"}},
	{name: "containerd", args: []string{"-tags=no_btrfs,no_devmapper,no_zfs"}},
	{name: "kubernetes"},
}

// Ensure returns the set, and builds first what the cache lacks; say is told what takes time.
func Ensure(ctx context.Context, say func(format string, args ...any)) (Set, error) {
	cache, err := cacheDir()
	if err != nil {
		return Set{}, err
	}
	source, err := sourceDir()
	if err != nil {
		return Set{}, err
	}
	unlock, err := filelock.Lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Set{}, err
	}
	defer unlock()

	set := Set{Cache: cache, source: source}
	for _, m := range modules {
		dir, err := m.ensure(ctx, filepath.Join(source, "bin", m.name), cache, say)
		if err != nil {
			return Set{}, err
		}
		if m.name == "cni" {
			set.CNI = dir
		} else {
			set.Path = append(set.Path, dir)
		}
	}
	lightlets := filepath.Join(cache, "lightlet")
	set.Path = append(set.Path, lightlets)
	return set, errors.Join(os.MkdirAll(lightlets, 0o755), set.ensureImages(ctx, say))
}

// EnsureLightlet builds what light nodes have for a kubelet; go build knows whether it must.
func (s Set) EnsureLightlet(ctx context.Context) error {
	file := filepath.Join(s.Cache, "lightlet", "lightlet")
	if err := goCommand(ctx, s.source, nil, "build", "-o", file, "./cmd/lightlet"); err != nil {
		return fmt.Errorf("build lightlet: %w", err)
	}
	return nil
}

// cacheDir follows the XDG Base Directory Specification.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	dir := filepath.Join(base, "herald-lab")
	return dir, os.MkdirAll(dir, 0o755)
}

// sourceDir finds this module's directory: above the working directory, or beside the program's build/bin.
func sourceDir() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			for _, e2e := range []string{dir, filepath.Join(dir, "e2e")} {
				if exists(filepath.Join(e2e, "bin", "kubernetes", "go.mod")) {
					return e2e, nil
				}
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("find e2e/bin/kubernetes/go.mod: neither above the working directory nor above this program; run it inside the repository")
}

// ensure returns the directory with the module's programs.
func (m module) ensure(ctx context.Context, source, cache string, say func(string, ...any)) (string, error) {
	key, err := m.key(source)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, m.name+"-"+key)
	if exists(dir) {
		return dir, nil
	}
	say("building %s (once; kept in %s)", m.name, dir)
	return dir, buildInto(dir, func(staging string) error { return m.build(ctx, source, staging) })
}

// key changes with whatever the programs are made of.
func (m module) key(source string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, m.args, m.env, runtime.Version(), runtime.GOARCH)
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			return "", err
		}
		sum.Write(data)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:6]), nil
}

func (m module) build(ctx context.Context, source, staging string) error {
	flags := "-s -w"
	if m.name == "kubernetes" {
		version, err := requiredVersion(ctx, source, "k8s.io/kubernetes")
		if err != nil {
			return err
		}
		flags += stampKubernetes(version)
	}
	args := append([]string{"build", "-trimpath", "-ldflags", flags, "-o", staging + "/"}, m.args...)
	if err := goCommand(ctx, source, m.env, append(args, "tool")...); err != nil {
		return fmt.Errorf("build %s: %w", m.name, err)
	}
	if m.name == "etcd" { // its main package is the module's root, named server
		return os.Rename(filepath.Join(staging, "server"), filepath.Join(staging, "etcd"))
	}
	return nil
}

// stampKubernetes sets the version that nodes report, which Kubernetes' own build takes from git.
func stampKubernetes(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	var flags string
	for name, value := range map[string]string{"gitVersion": version, "gitMajor": parts[0], "gitMinor": parts[1]} {
		flags += fmt.Sprintf(" -X %s.%s=%s", kubernetesVersion, name, value)
	}
	return flags
}

func requiredVersion(ctx context.Context, source, path string) (string, error) {
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", path)
	command.Dir = source
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("ask for the version of %s: %w", path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// buildInto builds in a directory aside and renames it, so that what is in the cache is complete.
func buildInto(dir string, build func(staging string) error) error {
	staging := dir + ".building"
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	if err := os.MkdirAll(staging, 0o755); err != nil {
		return err
	}
	if err := build(staging); err != nil {
		return err
	}
	return os.Rename(staging, dir)
}

func goCommand(ctx context.Context, dir string, env []string, args ...string) error {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), append(env, "GOWORK=off")...)
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, output)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func hashTree(dir string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(sum, filepath.Base(path))
		_, err = io.Copy(sum, f)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil)[:6]), err
}
