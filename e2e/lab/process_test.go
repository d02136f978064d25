package lab

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestStartTimeSurvivesOddProgramNames(t *testing.T) {
	fields := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	for _, name := range []string{"sh", "a b", "x) S 9 (y", ""} {
		got, err := startTime("42 (" + name + ")" + fields)
		if err != nil || got != 4711 {
			t.Errorf("program %q: got %d, %v; want 4711", name, got, err)
		}
	}
	if _, err := startTime("42 (sh) S 1"); err == nil {
		t.Error("a status cut short was accepted")
	}
}

func TestASignalReachesTheProcessThatWasMeant(t *testing.T) {
	child := sleeper(t)
	p, err := identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Fatal("a process that runs is said not to")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("killed, and ended well")
	}
	if p.Alive() {
		t.Error("a process that was killed is said to run")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("signal to a process that is gone: %v", err)
	}
}

func TestASignalSparesALaterProcessWithTheSamePID(t *testing.T) {
	child := sleeper(t)
	p, err := identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	earlier := Process{PID: p.PID, Start: p.Start - 1}
	if earlier.Alive() {
		t.Error("another start time, yet the same process")
	}
	if err := earlier.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("a stranger was killed")
	}
}

func TestAZombieIsNotAlive(t *testing.T) {
	child := sleeper(t)
	p, err := identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(30 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestStartLeavesALog(t *testing.T) {
	file := t.TempDir() + "/logs/x.log"
	p, err := start(exec.Command("sh", "-c", "echo out; echo err >&2; exec sleep 60"), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	for {
		if log, _ := os.ReadFile(file); string(log) == "out\nerr\n" {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func sleeper(t *testing.T) *exec.Cmd {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = child.Process.Kill(), child.Wait() })
	return child
}
