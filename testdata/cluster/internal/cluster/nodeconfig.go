package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/assets"
)

const (
	kubeletRoot     = "/var/lib/kubelet" // as the cluster sees it
	volumePluginDir = kubeletRoot + "/volumeplugins"
)

// nodeValues is what the configuration files of a node are filled with.
type nodeValues struct {
	Address, Pods, DNS, Domain, Bin, PKI, Config, Group string
	Pause, Socket, VolumePlugins                        string
	DNSPort, DNSReadyPort, KubeletPort, ProxyHealth     int
}

// writeNodeConfig writes the files that containerd, CNI, kubelet, kube-proxy
// and CoreDNS are configured by.
func (p plan) writeNodeConfig() error {
	values := nodeValues{
		Address: p.record.Address.String(), Pods: p.record.Network.Pods.String(),
		DNS: serviceAddress(10).String(), Domain: clusterDomain,
		Bin: p.state.Bin("node"), PKI: p.folder.pki(""), Config: p.folder.config(""), Group: p.group.Path(),
		Pause: assets.PauseImage, Socket: containerdRPC, VolumePlugins: volumePluginDir,
		DNSPort: dnsPort, DNSReadyPort: dnsReadyPort, KubeletPort: kubeletPort, ProxyHealth: proxyHealth,
	}
	for name, text := range nodeFiles() {
		t, err := template.New(name).Option("missingkey=error").Parse(text)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		var b bytes.Buffer
		if err := t.Execute(&b, values); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		path := p.folder.config(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func nodeFiles() map[string]string {
	return map[string]string{
		"containerd.toml":     containerdConfig,
		"cni/10-ptp.conflist": networkConfig,
		"kubelet.yaml":        kubeletConfig,
		"kube-proxy.yaml":     proxyConfig,
		"Corefile":            dnsConfig,
		"resolv.conf":         "nameserver {{.Address}}\n",
	}
}

// The machine may lack CAP_SYS_RESOURCE, without which a container's OOM score
// can't be lowered below containerd's own; AppArmor profiles would be loaded
// into the machine's kernel, and NRI and CDI are for what no test uses.
const containerdConfig = `version = 4
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]

[plugins."io.containerd.server.v1.grpc"]
address = "{{.Socket}}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{{.Pause}}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{{.Config}}/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
enable_criu = false
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{{.Bin}}"]
conf_dir = "{{.Config}}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{{.Bin}}/runc"
SystemdCgroup = false

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
`

const networkConfig = `{
  "cniVersion": "1.0.0",
  "name": "testbed",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {"type": "host-local", "subnet": "{{.Pods}}", "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"}
  ]
}
`

// Nothing is evicted or collected for want of space: the disk is the machine's,
// and an image that was loaded can't be pulled again.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {{.Address}}
port: {{.KubeletPort}}
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
tlsCertFile: {{.PKI}}/kubelet-server.crt
tlsPrivateKeyFile: {{.PKI}}/kubelet-server.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.PKI}}/ca.crt}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://{{.Socket}}
cgroupDriver: cgroupfs
cgroupRoot: {{.Group}}
failCgroupV1: false
failSwapOn: false
clusterDomain: {{.Domain}}
clusterDNS: [{{.DNS}}]
resolvConf: {{.Config}}/resolv.conf
volumePluginDir: {{.VolumePlugins}}
localStorageCapacityIsolation: false
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
imagePullCredentialsVerificationPolicy: NeverVerify # or an image pulled once from a registry can't be used under its loaded name
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: {{.Config}}/kube-proxy.kubeconfig}
hostnameOverride: node1
clusterCIDR: {{.Pods}}
healthzBindAddress: {{.Address}}:{{.ProxyHealth}}
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// Names outside the cluster don't exist, and are said not to at once: pods
// reach the machine, nothing else.
const dnsConfig = `. {
  bind {{.Address}}
  errors
  ready {{.Address}}:{{.DNSReadyPort}}
  kubernetes {{.Domain}} in-addr.arpa {
    kubeconfig {{.Config}}/coredns.kubeconfig
    pods insecure
  }
  cache 5
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`
