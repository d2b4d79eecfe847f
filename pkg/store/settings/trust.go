package settings

import (
	"encoding/json"
	"fmt"
	"maps"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// InsecureKey is the setting of a location by which its storage's certificate isn't
// checked.
const InsecureKey = "insecureSkipTLSVerify"

// Trust replaces what a storage location says about its storage's certificate, for
// one reading; the zero value replaces nothing.
type Trust struct {
	// CACert are the certificates, in PEM, that the storage's own is checked against.
	CACert []byte `json:"caCert,omitempty"`
	// Insecure means that the storage's certificate isn't checked.
	Insecure bool `json:"insecure,omitempty"`
}

// Encode is the form in which a Trust is handed to a Job; empty for the zero value.
func (t Trust) Encode() string {
	if len(t.CACert) == 0 && !t.Insecure {
		return ""
	}
	encoded, _ := json.Marshal(t) // bytes and a bool
	return string(encoded)
}

// DecodeTrust reads what Encode wrote.
func DecodeTrust(text string) (Trust, error) {
	var t Trust
	if text == "" {
		return t, nil
	}
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return t, fmt.Errorf("decode whom to trust for the storage: %w", err)
	}
	return t, nil
}

// Of is the location as it is to be opened; the given one is left as it is. A
// location whose config can't be used is an error.
func (t Trust) Of(location *velerov1.BackupStorageLocation) (*velerov1.BackupStorageLocation, error) {
	if provider, _ := Provider(location.Spec.Provider); provider == ProviderFilesystem {
		return location, nil // there is no connection to secure
	}
	location = location.DeepCopy()
	if o := location.Spec.ObjectStorage; len(t.CACert) > 0 && o != nil {
		o.CACert, o.CACertRef = t.CACert, nil
	}
	if !t.Insecure {
		return location, nil
	}
	config := map[string]string{}
	maps.Copy(config, location.Spec.Config)
	config[InsecureKey] = "true"
	if err := Check(location.Spec.Provider, config); err != nil {
		return nil, fmt.Errorf("storage location %q: %w", location.Name, err)
	}
	location.Spec.Config = config
	return location, nil
}
