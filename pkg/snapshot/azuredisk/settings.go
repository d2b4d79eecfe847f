package azuredisk

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// defaultTimeout is Velero's.
const defaultTimeout = 2 * time.Minute

// settings is what a location's config says.
type settings struct {
	// timeout is the longest wait without progress.
	timeout time.Duration
	// snapshots is where snapshots go; what is empty is the credentials'.
	snapshots   place
	incremental bool
	tags        map[string]string
}

// parseSettings reads a config whose keys have been checked.
func parseSettings(config map[string]string) (settings, error) {
	s := settings{
		timeout:   defaultTimeout,
		snapshots: place{config["subscriptionId"], config["resourceGroup"]},
		tags:      map[string]string{},
	}
	var err error
	if text := config["apiTimeout"]; text != "" {
		if s.timeout, err = time.ParseDuration(text); err != nil || s.timeout <= 0 {
			return s, fmt.Errorf("config key \"apiTimeout\": %q is not a duration; hint: write 2m0s", text)
		}
	}
	if text := config["incremental"]; text != "" {
		if s.incremental, err = strconv.ParseBool(text); err != nil {
			return s, fmt.Errorf("config key \"incremental\": %q is not a boolean; hint: set it to \"true\" or \"false\"", text)
		}
	}
	if authority := config["activeDirectoryAuthorityURI"]; authority != "" && !strings.HasPrefix(authority, "https://") {
		return s, fmt.Errorf("config key \"activeDirectoryAuthorityURI\": not a URL that starts with https://")
	}
	for _, tag := range strings.FieldsFunc(config["tags"], func(r rune) bool { return r == ',' }) {
		name, value, ok := strings.Cut(tag, "=")
		if !ok || name == "" {
			return s, fmt.Errorf("config key \"tags\": %q is not of the form key1=value1,key2=value2", tag)
		}
		s.tags[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return s, nil
}
