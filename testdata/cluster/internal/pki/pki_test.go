package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func parse(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	if _, err := tls.X509KeyPair(p.Cert, p.Key); err != nil {
		t.Fatalf("certificate and key: %v", err)
	}
	block, _ := pem.Decode(p.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestIssue(t *testing.T) {
	t.Parallel()
	ca, err := NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewAuthority("ca") // the same name, but not the same key
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("10.98.0.1")
	for name, test := range map[string]struct {
		request Request
		server  bool
		client  bool
	}{
		"client": {Request{CommonName: "system:node:node1", Organizations: []string{"system:nodes"}, Client: true}, false, true},
		"server": {Request{CommonName: "node1", DNSNames: []string{"node1"}, Addresses: []netip.Addr{address}}, true, false},
		"both":   {Request{CommonName: "etcd", DNSNames: []string{"node1"}, Addresses: []netip.Addr{address}, Client: true}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair, err := ca.Issue(test.request)
			if err != nil {
				t.Fatal(err)
			}
			cert := parse(t, pair)
			if verifies(cert, ca, x509.ExtKeyUsageServerAuth) != test.server {
				t.Errorf("good for a server: %v, want %v", !test.server, test.server)
			}
			if verifies(cert, ca, x509.ExtKeyUsageClientAuth) != test.client {
				t.Errorf("good for a client: %v, want %v", !test.client, test.client)
			}
			if verifies(cert, other, x509.ExtKeyUsageAny) {
				t.Error("another authority vouches for it")
			}
			if test.server && (cert.VerifyHostname(address.String()) != nil || cert.VerifyHostname("node1") != nil) {
				t.Errorf("not good for its addresses: %v %v", cert.IPAddresses, cert.DNSNames)
			}
			if cert.Subject.CommonName != test.request.CommonName || len(cert.Subject.Organization) != len(test.request.Organizations) {
				t.Errorf("subject %v", cert.Subject)
			}
			if cert.IsCA {
				t.Error("it could sign others")
			}
		})
	}
}

func verifies(cert *x509.Certificate, by *Authority, usage x509.ExtKeyUsage) bool {
	pool := x509.NewCertPool()
	pool.AddCert(by.cert)
	_, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err == nil
}

func TestNewKey(t *testing.T) {
	t.Parallel()
	private, public, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(private)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode(public)
	half, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(half) {
		t.Error("the halves don't belong together")
	}
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	ca, err := NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	user, err := ca.Issue(Request{CommonName: "admin", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := (Kubeconfig{Name: "testbed", Server: "https://10.98.0.1:6443", CA: ca.Cert, User: user}).Write(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://10.98.0.1:6443" || config.Insecure || string(config.CAData) != string(ca.Cert) ||
		string(config.CertData) != string(user.Cert) || string(config.KeyData) != string(user.Key) {
		t.Errorf("got %v", config)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := (Pair{Cert: []byte("c"), Key: []byte("k")}).Write(dir, "x"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "x.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key's mode %v, %v", info, err)
	}
}
