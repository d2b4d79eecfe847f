package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/pki"
)

// nodeName is the name of a full cluster's only node.
const nodeName = "node1"

// leaf is a certificate to issue: its file name, the authority and what for.
type leaf struct {
	name    string
	by      string
	request pki.Request
}

// authorities: etcd trusts nobody whom the API server lets in as a user.
func authorities() []string { return []string{"ca", "etcd-ca", "front-proxy-ca"} }

// users are the clients of the API server that get a kubeconfig.
func users() []leaf {
	user := func(file, name string, groups ...string) leaf {
		return leaf{file, "ca", pki.Request{CommonName: name, Organizations: groups, Client: true}}
	}
	return []leaf{
		user("admin", "testbed-admin", "system:masters"),
		user("kube-controller-manager", "system:kube-controller-manager"),
		user("kube-scheduler", "system:kube-scheduler"),
		user("kube-proxy", "system:kube-proxy"),
		user("kubelet", "system:node:"+nodeName, "system:nodes"),
		user("coredns", dnsUser),
	}
}

// servers are the other certificates; that of the API server comes last, see
// serves.
func servers(address netip.Addr) []leaf {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return []leaf{
		{"kubelet-server", "ca", pki.Request{CommonName: nodeName, DNSNames: []string{nodeName}, Addresses: []netip.Addr{address}}},
		{"apiserver-kubelet-client", "ca", pki.Request{CommonName: kubeletClientUser, Client: true}},
		{"front-proxy-client", "front-proxy-ca", pki.Request{CommonName: frontProxyUser, Client: true}},
		// etcd's server also calls itself, hence a client too.
		{"etcd", "etcd-ca", pki.Request{CommonName: "etcd", DNSNames: []string{"localhost"}, Addresses: []netip.Addr{loopback}, Client: true}},
		{"apiserver-etcd-client", "etcd-ca", pki.Request{CommonName: "kube-apiserver", Client: true}},
		{"kube-apiserver", "ca", pki.Request{
			CommonName: "kube-apiserver",
			DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterDomain},
			Addresses:  []netip.Addr{loopback, address, serviceAddress(1)},
		}},
	}
}

// serviceAddress returns the nth address of the services' range.
func serviceAddress(n byte) netip.Addr {
	b := machine.ServiceRange().Addr().As4()
	b[3] = n
	return netip.AddrFrom4(b)
}

// makeCredentials makes all certificates and kubeconfigs, unless those of an
// earlier start still serve. The key that signs service account tokens stays,
// so that tokens in the cluster remain good.
func makeCredentials(p plan) error {
	f := p.folder
	if err := os.MkdirAll(f.pki(""), 0o700); err != nil {
		return fmt.Errorf("make credentials: %w", err)
	}
	if err := makeSigningKey(f); err != nil {
		return err
	}
	if !serves(f.pki("kube-apiserver.crt"), p.record.Address) {
		if err := issueAll(f, p.record.Address); err != nil {
			return err
		}
	}
	return writeKubeconfigs(p)
}

func makeSigningKey(f folder) error {
	if _, err := os.Stat(f.pki("sa.pub")); err == nil {
		return nil
	}
	private, public, err := pki.NewKey()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(f.pki("sa.key"), private, 0o600),
		os.WriteFile(f.pki("sa.pub"), public, 0o644),
	)
}

// serves reports whether the certificate in file is good for address and for a
// month to come. Looking at the one that is issued last vouches for all.
func serves(file string, address netip.Addr) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && cert.VerifyHostname(address.String()) == nil && time.Until(cert.NotAfter) > 30*24*time.Hour
}

func issueAll(f folder, address netip.Addr) error {
	signers := map[string]*pki.Authority{}
	for _, name := range authorities() {
		authority, err := pki.NewAuthority("testbed-" + name)
		if err != nil {
			return err
		}
		if err := authority.Write(f.pki(""), name); err != nil {
			return err
		}
		signers[name] = authority
	}
	// See serves: a start that was cut short must not leave half a set.
	if err := os.Remove(f.pki("kube-apiserver.crt")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make credentials: %w", err)
	}
	for _, l := range append(users(), servers(address)...) {
		pair, err := signers[l.by].Issue(l.request)
		if err != nil {
			return err
		}
		if err := pair.Write(f.pki(""), l.name); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfigs(p plan) error {
	f := p.folder
	if err := os.MkdirAll(f.config(""), 0o700); err != nil {
		return fmt.Errorf("write kubeconfigs: %w", err)
	}
	ca, err := os.ReadFile(f.pki("ca.crt"))
	if err != nil {
		return fmt.Errorf("write kubeconfigs: %w", err)
	}
	for _, user := range users() {
		cert, err := os.ReadFile(f.pki(user.name + ".crt"))
		if err != nil {
			return fmt.Errorf("write kubeconfigs: %w", err)
		}
		key, err := os.ReadFile(f.pki(user.name + ".key"))
		if err != nil {
			return fmt.Errorf("write kubeconfigs: %w", err)
		}
		path := f.userConfig(user.name)
		if user.name == "admin" {
			path = f.kubeconfig()
		}
		k := pki.Kubeconfig{Name: "testbed-" + p.name, Server: p.record.server(), CA: ca, User: pki.Pair{Cert: cert, Key: key}}
		if err := k.Write(path); err != nil {
			return err
		}
	}
	return nil
}
