package cluster

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

const (
	holderName        = "namespaces"
	clusterDomain     = "cluster.local"
	kubeletClientUser = "kube-apiserver-kubelet-client"
	frontProxyUser    = "front-proxy-client"
	dnsUser           = "system:coredns"
)

// The ports of a node, as they are everywhere.
const (
	kubeletPort   = 10250
	proxyHealth   = 10256
	dnsPort       = 53
	dnsReadyPort  = 8181
	containerdRPC = "/run/containerd/containerd.sock" // as the cluster sees it
)

// component is one program of a cluster.
type component struct {
	name string
	path string
	args []string
}

// plan says how the components of one cluster are run.
type plan struct {
	name   string
	id     string // of what it owns outside its folder
	state  state.Folder
	folder folder
	record *record
	group  machine.Group
}

func flag(name string, value any) string { return fmt.Sprintf("--%s=%v", name, value) }

func (p plan) etcd() component {
	at := func(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }
	f := p.folder
	return component{"etcd", p.state.Bin("etcd"), []string{
		flag("name", "testbed"),
		flag("data-dir", f.join("etcd")),
		flag("listen-client-urls", at(p.record.Ports.Etcd)),
		flag("advertise-client-urls", at(p.record.Ports.Etcd)),
		flag("listen-peer-urls", at(p.record.Ports.EtcdPeer)),
		flag("initial-advertise-peer-urls", at(p.record.Ports.EtcdPeer)),
		flag("initial-cluster", "testbed="+at(p.record.Ports.EtcdPeer)),
		flag("cert-file", f.pki("etcd.crt")),
		flag("key-file", f.pki("etcd.key")),
		flag("trusted-ca-file", f.pki("etcd-ca.crt")),
		"--client-cert-auth",
		flag("peer-cert-file", f.pki("etcd.crt")),
		flag("peer-key-file", f.pki("etcd.key")),
		flag("peer-trusted-ca-file", f.pki("etcd-ca.crt")),
		"--peer-client-cert-auth",
		// The data need not survive the machine's crash.
		"--unsafe-no-fsync",
		flag("quota-backend-bytes", 8<<30),
		flag("log-level", "warn"),
	}}
}

func (p plan) apiServer() component {
	f, r := p.folder, p.record
	args := []string{
		flag("bind-address", r.Address),
		flag("secure-port", r.Ports.API),
		flag("cert-dir", f.pki("")),
		flag("tls-cert-file", f.pki("kube-apiserver.crt")),
		flag("tls-private-key-file", f.pki("kube-apiserver.key")),
		flag("client-ca-file", f.pki("ca.crt")),
		flag("etcd-servers", fmt.Sprintf("https://127.0.0.1:%d", r.Ports.Etcd)),
		flag("etcd-cafile", f.pki("etcd-ca.crt")),
		flag("etcd-certfile", f.pki("apiserver-etcd-client.crt")),
		flag("etcd-keyfile", f.pki("apiserver-etcd-client.key")),
		flag("service-account-issuer", "https://kubernetes.default.svc."+clusterDomain),
		flag("service-account-key-file", f.pki("sa.pub")),
		flag("service-account-signing-key-file", f.pki("sa.key")),
		flag("service-cluster-ip-range", r.Services),
		flag("authorization-mode", "Node,RBAC"),
		flag("enable-admission-plugins", "NodeRestriction"),
		flag("allow-privileged", true),
		flag("kubelet-preferred-address-types", "InternalIP"),
		flag("kubelet-certificate-authority", f.pki("ca.crt")),
		flag("kubelet-client-certificate", f.pki("apiserver-kubelet-client.crt")),
		flag("kubelet-client-key", f.pki("apiserver-kubelet-client.key")),
		flag("requestheader-client-ca-file", f.pki("front-proxy-ca.crt")),
		flag("requestheader-allowed-names", frontProxyUser),
		flag("requestheader-username-headers", "X-Remote-User"),
		flag("requestheader-group-headers", "X-Remote-Group"),
		flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
		flag("proxy-client-cert-file", f.pki("front-proxy-client.crt")),
		flag("proxy-client-key-file", f.pki("front-proxy-client.key")),
		flag("profiling", false),
	}
	if r.Mode == ModeAPI {
		// A loopback address can't be an endpoint of the service "kubernetes".
		args = append(args, flag("endpoint-reconciler-type", "none"))
	} else {
		args = append(args, flag("advertise-address", r.Address))
	}
	return component{"kube-apiserver", p.state.Bin("kube-apiserver"), args}
}

// asUser returns the flags that make a controller a user of the API server,
// and let it ask there who its own clients are.
func (p plan) asUser(name string) []string {
	file := p.folder.userConfig(name)
	return []string{
		flag("kubeconfig", file), flag("authentication-kubeconfig", file), flag("authorization-kubeconfig", file),
		flag("bind-address", "127.0.0.1"), flag("leader-elect", false), flag("profiling", false),
	}
}

func (p plan) controllerManager() component {
	f := p.folder
	return component{"kube-controller-manager", p.state.Bin("kube-controller-manager"), append(p.asUser("kube-controller-manager"),
		flag("service-account-private-key-file", f.pki("sa.key")),
		flag("root-ca-file", f.pki("ca.crt")),
		flag("cluster-signing-cert-file", f.pki("ca.crt")),
		flag("cluster-signing-key-file", f.pki("ca.key")),
		flag("use-service-account-credentials", true),
		flag("flex-volume-plugin-dir", volumePluginDir),
		// Tests delete whole namespaces; the default of 20 requests/s is slow.
		flag("kube-api-qps", 200),
		flag("kube-api-burst", 400),
	)}
}

func (p plan) scheduler() component {
	return component{"kube-scheduler", p.state.Bin("kube-scheduler"), p.asUser("kube-scheduler")}
}

func (p plan) containerd() component {
	return component{"containerd", p.state.Bin("node/containerd"), []string{"--config", p.folder.config("containerd.toml")}}
}

func (p plan) kubelet() component {
	return component{"kubelet", p.state.Bin("kubelet"), []string{
		flag("config", p.folder.config("kubelet.yaml")),
		flag("kubeconfig", p.folder.userConfig("kubelet")),
		flag("root-dir", kubeletRoot),
		flag("cert-dir", kubeletRoot+"/pki"),
		flag("hostname-override", nodeName),
		flag("node-ip", p.record.Address),
	}}
}

func (p plan) proxy() component {
	return component{"kube-proxy", p.state.Bin("kube-proxy"), []string{flag("config", p.folder.config("kube-proxy.yaml"))}}
}

func (p plan) dns() component {
	return component{"coredns", p.state.Bin("node/coredns"), []string{"-conf", p.folder.config("Corefile")}}
}

// environment is that of every component: its own programs come first on the
// PATH, and no proxy stands between the components.
func (p plan) environment() []string {
	path := p.state.Bin("node") + ":" + p.state.Bin("") + ":" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
	return []string{"PATH=" + path, "HOME=" + p.folder.join("home"), "LANG=C.UTF-8"}
}

// nodeURL is where a component of the node answers plain HTTP.
func (p plan) nodeURL(port int, path string) string {
	return "http://" + netip.AddrPortFrom(p.record.Address, uint16(port)).String() + path
}
