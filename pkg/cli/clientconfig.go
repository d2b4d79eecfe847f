package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// clientConfig is Velero's client config file, as far as it matters here. Keys
// that are not known are ignored, as are values of another type.
type clientConfig struct {
	Namespace string
}

// readClientConfig reads $HOME/.config/velero/config.json. A missing file is
// an empty config.
func readClientConfig() (clientConfig, error) {
	home := os.Getenv("HOME")
	if home == "" {
		return clientConfig{}, nil
	}
	path := filepath.Join(home, ".config", "velero", "config.json")
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return clientConfig{}, nil
	}
	if err != nil {
		return clientConfig{}, fmt.Errorf("read client config: %w", err)
	}
	var values map[string]any
	if err := json.Unmarshal(body, &values); err != nil {
		return clientConfig{}, fmt.Errorf("read client config %s: %w", path, err)
	}
	namespace, _ := values["namespace"].(string)
	return clientConfig{Namespace: namespace}, nil
}
