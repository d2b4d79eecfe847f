package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mentioning describes the processes whose command line holds text, this one
// left out.
func Mentioning(text string) ([]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	self := fmt.Sprint(os.Getpid())
	var found []string
	for _, file := range files {
		pid := filepath.Base(filepath.Dir(file))
		line, err := os.ReadFile(file)
		if err != nil || pid == self || !bytes.Contains(line, []byte(text)) {
			continue // it may have ended
		}
		words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		found = append(found, fmt.Sprintf("%s: %s", pid, words[0]))
	}
	return found, nil
}
