package link

import (
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"
)

// ParseExcludes reads the file of links that are never announced on: a YAML
// object whose key announcedInterfacesToExclude is a list of regular
// expressions (https://golang.org/s/re2syntax), each of which matches any part
// of a name unless anchored.
func ParseExcludes(file []byte) ([]*regexp.Regexp, error) {
	var content struct {
		AnnouncedInterfacesToExclude []string `json:"announcedInterfacesToExclude"`
	}
	if err := yaml.Unmarshal(file, &content); err != nil {
		return nil, fmt.Errorf("parse links to exclude: %w", err)
	}
	var out []*regexp.Regexp
	for _, pattern := range content.AnnouncedInterfacesToExclude {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("parse links to exclude: pattern %q: %w", pattern, err)
		}
		out = append(out, re)
	}
	return out, nil
}
