package cli

import (
	"crypto/x509"
	"fmt"

	"github.com/spf13/pflag"

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
func (b *bucketFlags) trust(f *Factory) (settings.Trust, error) {
	trust := settings.Trust{Insecure: b.insecure}
	if b.cacert != "" {
		var err error
		trust.CACert, err = readCACert("--cacert", b.cacert)
		return trust, err
	}
	config, err := readClientConfig()
	if err != nil {
		f.warn("%v", err)
	}
	if config.CACert == "" {
		return trust, nil
	}
	if trust.CACert, err = readCACert("cacert of the client config file", config.CACert); err != nil {
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
