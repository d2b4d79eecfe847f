package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// lookPath finds a command on the PATH of env, not on that of this process.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, string(os.PathSeparator)) {
		return name, nil
	}
	path := ""
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value // the last one wins, as in exec
		}
	}
	for _, folder := range filepath.SplitList(path) {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("command %q isn't on the PATH", name)
}
