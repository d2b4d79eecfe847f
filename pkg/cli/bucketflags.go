package cli

import (
	"crypto/x509"
	"fmt"
	"maps"

	"github.com/spf13/pflag"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// bucketFlags are the flags of commands that read from a bucket: how the storage's
// certificate is checked this time, whatever the storage location says.
type bucketFlags struct {
	cacert   string
	insecure bool
}

func (b *bucketFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&b.cacert, "cacert", "", "File with the certificates, in PEM, that the storage's own is checked against, in place of the storage location's. Default: the client config file's.")
	fs.BoolVar(&b.insecure, "insecure-skip-tls-verify", false, "Don't check the storage's certificate: whoever is on the way to it can read the credentials' signatures and change what comes.")
}

// connect is the connection of a command with these flags.
func (b *bucketFlags) connect(f *Factory) (*session, error) {
	trust, err := b.trust(f)
	if err != nil {
		return nil, err
	}
	s, err := f.connect()
	if err != nil {
		return nil, err
	}
	s.trust = trust
	return s, nil
}

// trust reads the file that the flag names, or else the client config. A file that
// only the config names may be of another time, so it is no error if that is gone.
func (b *bucketFlags) trust(f *Factory) (bucketTrust, error) {
	trust := bucketTrust{insecure: b.insecure}
	if b.cacert != "" {
		var err error
		trust.caCert, err = readCACert("--cacert", b.cacert)
		return trust, err
	}
	config, err := readClientConfig()
	if err != nil {
		f.warn("%v", err)
	}
	if config.CACert == "" {
		return trust, nil
	}
	if trust.caCert, err = readCACert("cacert of the client config file", config.CACert); err != nil {
		f.warn("the storage location's certificates are used, since %v", err)
	}
	return trust, nil
}

// readCACert reads certificates in PEM from a file that a flag names.
func readCACert(flag, path string) ([]byte, error) {
	pem, err := readFlagFile(flag, path)
	if err != nil {
		return nil, err
	}
	if !isCertificate(pem) {
		return nil, fmt.Errorf("%s %s holds no certificate in PEM form; hint: it begins with -----BEGIN CERTIFICATE-----", flag, path)
	}
	return pem, nil
}

func isCertificate(pem []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(pem) }

// insecureKey is the setting of a storage location that stands for
// --insecure-skip-tls-verify.
const insecureKey = "insecureSkipTLSVerify"

// bucketTrust replaces what a storage location says about the storage's
// certificate; the zero value replaces nothing.
type bucketTrust struct {
	caCert   []byte // PEM
	insecure bool
}

// of is the location as it is to be opened. It is left as it is itself.
func (t bucketTrust) of(location *velerov1.BackupStorageLocation) (*velerov1.BackupStorageLocation, error) {
	if provider, _ := settings.Provider(location.Spec.Provider); provider == settings.ProviderFilesystem {
		return location, nil // there is no connection to secure
	}
	location = location.DeepCopy()
	if o := location.Spec.ObjectStorage; t.caCert != nil && o != nil {
		o.CACert, o.CACertRef = t.caCert, nil
	}
	if !t.insecure {
		return location, nil
	}
	config := map[string]string{}
	maps.Copy(config, location.Spec.Config)
	config[insecureKey] = "true"
	if err := settings.Check(location.Spec.Provider, config); err != nil {
		return nil, fmt.Errorf("--insecure-skip-tls-verify: storage location %q: %w", location.Name, err)
	}
	location.Spec.Config = config
	return location, nil
}
