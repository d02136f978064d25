package herald_test

import (
	"os"
	"strings"
	"testing"
)

// What a new user reads is what the demo applied when it was last seen to work.
func TestREADMEShowsTheManifestsOfTheDemo(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"e2e/manifests/pool.yaml", "e2e/manifests/service.yaml", "e2e/manifests/bgp.yaml"} {
		manifest, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(readme), "```yaml\n"+strings.TrimSpace(string(manifest))+"\n```") {
			t.Errorf("README.md does not show %s as it is", name)
		}
	}
}
