// Package state knows where the test-bed keeps its things: one folder, ignored
// by git, with the built binaries, the unpacked packages, the images and one
// folder per cluster. It makes no assumption on what is in them.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Env is the environment variable that names another state folder.
const Env = "TESTBED_STATE"

// Folder is the state folder and the sources that it is built from. Both paths
// are absolute.
type Folder struct {
	Root   string // <repository>/.testbed unless Env says otherwise
	Source string // <repository>/testdata
}

// Locate finds the repository from the working directory or, failing that,
// from the place of the running binary, and the state folder in it.
func Locate() (Folder, error) {
	source, err := locateSource()
	if err != nil {
		return Folder{}, err
	}
	root := filepath.Join(filepath.Dir(source), ".testbed")
	if env := os.Getenv(Env); env != "" {
		if root, err = filepath.Abs(env); err != nil {
			return Folder{}, fmt.Errorf("state folder %q: %w", env, err)
		}
	}
	return Folder{Root: root, Source: source}, nil
}

func locateSource() (string, error) {
	starts := []string{}
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, start := range starts {
		if source, ok := searchUp(start); ok {
			return source, nil
		}
	}
	return "", errors.New("find testdata/cluster/go.mod above the working directory: not found; hint: run from inside the repository")
}

func searchUp(dir string) (string, bool) {
	for {
		source := filepath.Join(dir, "testdata")
		if _, err := os.Stat(filepath.Join(source, "cluster", "go.mod")); err == nil {
			return source, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// Bin is the path of the built binary called name.
func (f Folder) Bin(name string) string { return filepath.Join(f.Root, "bin", name) }

// Image is the path of the image archive called name.
func (f Folder) Image(name string) string { return filepath.Join(f.Root, "images", name+".tar") }

// Cluster is the folder of the cluster called name.
func (f Folder) Cluster(name string) string { return filepath.Join(f.Root, "clusters", name) }

// LockFile is what a command holds while it changes the cluster called name.
func (f Folder) LockFile(name string) string {
	return filepath.Join(f.Root, "clusters", "."+name+".lock")
}

// Clusters lists the names of the clusters that have a folder.
func (f Folder) Clusters() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.Root, "clusters"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// IDPrefix starts the ID of every cluster of this state folder, and of none of
// another one: two clones of the repository can run clusters side by side.
func (f Folder) IDPrefix() string { return "kv" + short(f.Root, 6) + "-" }

// ID names what the cluster called name owns outside its folder: the network
// interface (hence at most 15 characters) and the control groups.
func (f Folder) ID(name string) string { return f.IDPrefix() + short(name, 5) }

func short(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:n]
}

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// CheckName refuses what can't be a cluster's name, which is also the name of
// its folder.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("cluster name %q: not lower-case letters, digits and dashes", name)
	}
	return nil
}
