package process

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestOnlyWhatCannotHaveBeenWrittenIsUnmapped(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		ok   bool
	}{
		"code":                       {"00400000-01588000 r-xp 00000000 fe:00 9977907                            /speaker", true},
		"tables":                     {"01588000-026c1000 r--p 01188000 fe:00 9977907                            /speaker", true},
		"variables":                  {"026c1000-02758000 rw-p 022c1000 fe:00 9977907                            /speaker", false},
		"what can be written alone":  {"026c1000-02758000 -w-p 022c1000 fe:00 9977907                            /speaker", false},
		"another file":               {"00400000-01588000 r-xp 00000000 fe:00 9977907                            /lib/x.so", false},
		"memory":                     {"c000000000-c000400000 rw-p 00000000 00:00 0 ", false},
		"code of the kernel":         {"7ffd1b5f2000-7ffd1b5f4000 r-xp 00000000 00:00 0                          [vdso]", false},
		"a line that is cut off":     {"00400000-01588000 r-xp 00000000 fe:00", false},
		"no addresses":               {"x-y r-xp 00000000 fe:00 9977907                            /speaker", false},
		"one address":                {"00400000 r-xp 00000000 fe:00 9977907                            /speaker", false},
		"addresses that go downward": {"01588000-00400000 r-xp 00000000 fe:00 9977907                            /speaker", false},
	} {
		first, last, ok := unwritable(tc.line, "/speaker")
		if ok != tc.ok || ok && first >= last {
			t.Errorf("%s: from %x to %x, %v", name, first, last, ok)
		}
	}
}

func TestTheProgramGoesOnWithoutItsPages(t *testing.T) {
	before := mapped(t)
	Unmap()
	if after := mapped(t); after >= before {
		t.Errorf("%d kB of files are mapped, and %d kB were", after, before)
	}
}

// mapped is how much of files is in this process's memory, in kB.
func mapped(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssFile:"); ok {
			kB, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kB
		}
	}
	t.Skip("this kernel does not say how much of files is mapped")
	return 0
}
