package transform

// rootCAConfigMap is the ConfigMap that kube-controller-manager keeps in every
// namespace, with the certificate authority of its own cluster.
const rootCAConfigMap = "kube-root-ca.crt"

// configMap leaves out the one that every cluster makes by itself.
func configMap(_ *Options, obj *Object) (Decision, error) {
	if obj.Name() == rootCAConfigMap {
		return Decision{Skip: "every cluster publishes its own certificate authority"}, nil
	}
	return Decision{}, nil
}
