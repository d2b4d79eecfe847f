package transform

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// service gives back the addresses and ports that the former cluster gave to a
// Service. What its owner asked for stays: "None" as address, and node ports
// that were named in the applied manifest.
func service(o *Options, obj *Object) (Decision, error) {
	spec, err := obj.Edit("spec")
	if err != nil || text(spec, "type") == string(corev1.ServiceTypeExternalName) {
		return Decision{}, err
	}
	if text(spec, "clusterIP") != corev1.ClusterIPNone {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	if o.PreserveNodePorts {
		return Decision{}, nil
	}
	asked, err := askedPorts(obj)
	if err != nil {
		return Decision{}, err
	}
	for _, port := range mapsAt(spec, "ports") {
		if !asked.node(port) {
			delete(port, "nodePort")
		}
	}
	if text(spec, "type") == string(corev1.ServiceTypeLoadBalancer) &&
		text(spec, "externalTrafficPolicy") == string(corev1.ServiceExternalTrafficPolicyLocal) && !asked.healthCheck {
		delete(spec, "healthCheckNodePort")
	}
	return Decision{}, nil
}

// portRequests says which node ports somebody asked for.
type portRequests struct {
	node        func(port map[string]any) bool
	healthCheck bool
}

// askedPorts looks into the manifest that was last applied or, when there is
// none, into the record of who set which field.
func askedPorts(obj *Object) (portRequests, error) {
	manifest := obj.Annotation(corev1.LastAppliedConfigAnnotation)
	if manifest == "" {
		return managedPorts(obj)
	}
	asked, err := appliedPorts(manifest)
	if err != nil {
		return portRequests{}, fmt.Errorf("decode annotation %s: %w", corev1.LastAppliedConfigAnnotation, err)
	}
	if !asked.healthCheck {
		managed, err := managedPorts(obj)
		if err != nil {
			return portRequests{}, err
		}
		asked.healthCheck = managed.healthCheck
	}
	return asked, nil
}

func appliedPorts(manifest string) (portRequests, error) {
	decoder := json.NewDecoder(strings.NewReader(manifest))
	decoder.UseNumber()
	var applied map[string]any
	if err := decoder.Decode(&applied); err != nil {
		return portRequests{}, err
	}
	spec := child(applied, "spec")
	byName, byNumber := map[string]bool{}, map[int64]bool{}
	for _, port := range mapsAt(spec, "ports") {
		number := whole(port, "nodePort")
		switch name := text(port, "name"); {
		case number == 0:
		case name != "":
			byName[name] = true
		default:
			byNumber[number] = true
		}
	}
	return portRequests{
		node: func(port map[string]any) bool {
			if name := text(port, "name"); name != "" {
				return byName[name]
			}
			return byNumber[whole(port, "nodePort")]
		},
		healthCheck: whole(spec, "healthCheckNodePort") != 0,
	}, nil
}

// managedPorts reads metadata.managedFields: who sets a node port owns the field.
func managedPorts(obj *Object) (portRequests, error) {
	asked := map[string]bool{}
	healthCheck := false
	var entries []struct {
		FieldsV1 map[string]any `json:"fieldsV1"`
	}
	if raw := obj.ManagedFields(); raw != nil {
		if err := json.Unmarshal(raw, &entries); err != nil {
			return portRequests{}, fmt.Errorf("decode metadata.managedFields: %w", err)
		}
	}
	for _, entry := range entries {
		spec := child(entry.FieldsV1, "f:spec")
		for key, fields := range child(spec, "f:ports") {
			if fields, ok := fields.(map[string]any); ok && fields["f:nodePort"] != nil {
				asked[portKey(key)] = true
			}
		}
		healthCheck = healthCheck || spec["f:healthCheckNodePort"] != nil
	}
	return portRequests{
		node: func(port map[string]any) bool {
			protocol := text(port, "protocol")
			if protocol == "" {
				protocol = string(corev1.ProtocolTCP)
			}
			return asked[fmt.Sprintf("%d/%s", whole(port, "port"), protocol)]
		},
		healthCheck: healthCheck,
	}, nil
}

// portKey turns `k:{"port":80,"protocol":"TCP"}` into "80/TCP".
func portKey(field string) string {
	const prefix = "k:"
	if len(field) < len(prefix) {
		return ""
	}
	var key struct {
		Port     int64
		Protocol string
	}
	if json.Unmarshal([]byte(field[len(prefix):]), &key) != nil {
		return ""
	}
	return fmt.Sprintf("%d/%s", key.Port, key.Protocol)
}
