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
	// Namespace is where Velero's objects live; empty when it isn't set.
	Namespace string
	// Features are feature flags, separated by commas.
	Features string
	// CACert is a file with the certificates, in PEM, of the storage.
	CACert string
}

// readClientConfig reads $HOME/.config/velero/config.json. A missing file is
// an empty config.
func readClientConfig() (clientConfig, error) {
	values, err := readConfigValues()
	namespace, _ := values["namespace"].(string)
	features, _ := values["features"].(string)
	caCert, _ := values["cacert"].(string)
	return clientConfig{Namespace: namespace, Features: features, CACert: caCert}, err
}

// configPath is where Velero's client config file is; empty without a home.
func configPath() string {
	home := os.Getenv("HOME")
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".config", "velero", "config.json")
}

// readConfigValues reads all that the file holds, known or not; nil when there
// is none.
func readConfigValues() (map[string]any, error) {
	path := configPath()
	if path == "" {
		return nil, nil
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read client config: %w", err)
	}
	var values map[string]any
	if err := json.Unmarshal(body, &values); err != nil {
		return nil, fmt.Errorf("read client config %s: %w", path, err)
	}
	return values, nil
}

// writeConfigValues replaces the file as a whole, so that a full disk leaves the
// one before.
func writeConfigValues(values map[string]any) error {
	path := configPath()
	if path == "" {
		return errors.New("write client config: HOME is not set")
	}
	body, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return fmt.Errorf("write client config: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write client config: %w", err)
	}
	return replaceFile(path, append(body, '\n'))
}

func replaceFile(path string, body []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return fmt.Errorf("write client config: %w", err)
	}
	_, err = file.Write(body)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write client config: %w", err), os.Remove(file.Name()))
	}
	return nil
}
