package process

import (
	"bufio"
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// gcPercent is how much garbage may gather, in percent of what lives. Most of what lives
// are cached objects, which come seldom and stay: memory is what counts here.
const gcPercent = 50

// economize has Go's runtime spend processor time rather than memory, unless the environment
// says otherwise, and keep no account of who allocates unless somebody can ask for it.
func economize(profiled bool) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if !profiled {
		runtime.MemProfileRate = 0
	}
}

// starting is how long a process has for what it does but once.
const starting = time.Minute

// unmapOnceStarted gives back what only the start needed.
func unmapOnceStarted(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-time.After(starting):
		Unmap()
	}
	return nil
}

// Unmap gives back the pages of the program's file that have been touched so far: packages touch nearly
// all of it as they are initialized, for thousands of types that are never looked at again. What is needed
// still is mapped again where it is touched, from the kernel's cache. It is an economy: where it cannot be
// had, there is nothing to be told.
func Unmap() {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if first, last, ok := unwritable(lines.Text(), program); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, first, last-first, unix.MADV_DONTNEED)
		}
	}
}

// unwritable reads where a mapping begins and ends, from a line of /proc/self/maps, proc_pid_maps(5). It
// is not ok unless the mapping is of the program's file and cannot have been written to: what was would be
// lost.
func unwritable(line, program string) (first, last uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 6 || fields[5] != program || strings.Contains(fields[1], "w") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	return uintptr(start), uintptr(end), err1 == nil && err2 == nil && start < end
}
