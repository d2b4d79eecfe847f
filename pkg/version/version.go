// Package version tells which build of this program is running.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Build is what a binary knows about where it comes from.
type Build struct {
	// Version is the module's version, or "dev".
	Version string
	// Commit is empty when it wasn't recorded; that of a changed tree ends with
	// "-dirty".
	Commit string
}

// Get returns the running binary's build.
func Get() Build {
	b := Build{Version: "dev"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value
		}
	}
	if revision != "" && modified == "true" {
		revision += "-dirty"
	}
	b.Commit = revision
	return b
}

// UserAgent is how this program calls itself towards an API server.
func UserAgent() string {
	return fmt.Sprintf("kubectl-velero/%s (%s/%s)", Get().Version, runtime.GOOS, runtime.GOARCH)
}
