package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process identifies a process for as long as the machine is up: a PID may be used again, but not with the same start.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat (proc(5))
}

func identify(pid int) (Process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	start, err := startTime(string(stat))
	return Process{PID: pid, Start: start}, err
}

// startTime reads field 22 of /proc/PID/stat. Field 2 is the program's name in parentheses and may hold anything, a
// parenthesis too, so fields are counted from the last one.
func startTime(stat string) (uint64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("parse process status %q: too few fields", stat)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Alive says whether this very process still runs; a zombie does not.
func (p Process) Alive() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return false
	}
	start, err := startTime(string(stat))
	rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return err == nil && start == p.Start && rest[0] != "Z" && rest[0] != "X"
}

// Signal sends a signal to this very process: never to a later one that was given its PID.
func (p Process) Signal(signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: in the middle of its end
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", signal, p.PID, err)
	}
	return nil
}

// runs says whether the process has this name.
func (p Process) runs(program string) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
	return err == nil && strings.TrimSpace(string(name)) == program
}

// wait returns when the process is gone, or says that it is not after this long.
func (p Process) wait(limit time.Duration) error {
	for end := time.Now().Add(limit); p.Alive(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process %d still runs after %v", p.PID, limit)
		}
	}
	return nil
}

// start runs a command that outlives this program, with its output in a log file.
func start(command *exec.Cmd, logFile string) (Process, error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return Process{}, err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return Process{}, err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return Process{}, fmt.Errorf("start %s: %w", command.Args[0], err)
	}
	process, err := identify(command.Process.Pid)
	go func() { _ = command.Wait() }() // leave no zombie while this program lives
	return process, err
}

// members lists the processes in a network namespace, threads that are only visiting aside.
func members(namespaceFile string) ([]Process, error) {
	wanted, err := os.Stat(namespaceFile)
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, link := range links {
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		info, err := os.Stat(link)
		if err != nil || pid == os.Getpid() || !os.SameFile(wanted, info) {
			continue
		}
		if process, err := identify(pid); err == nil {
			found = append(found, process)
		}
	}
	return found, nil
}
