// Package policy reads resource policies, the YAML in the ConfigMap that a
// Backup's resourcePolicy names, and decides by them what is done with a
// volume's data. It makes no requests and moves no data.
//
// The format is Velero 1.18's: https://velero.io/docs/v1.18/resource-filtering/#resource-policies.
// Where Velero passes over what it doesn't understand, Parse refuses it with
// the line that is wrong, since a volume that is skipped by mistake is found
// out when it is needed.
package policy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// ActionType says what is done with the data of a volume.
type ActionType string

// The actions that a policy can name.
const (
	// Skip leaves the data out; the objects are stored.
	Skip ActionType = "skip"
	// FSBackup copies the files while the pod runs.
	FSBackup ActionType = "fs-backup"
	// Snapshot takes a snapshot, also where snapshotVolumes is false.
	Snapshot ActionType = "snapshot"
	// Custom leaves the data to somebody else: it is neither copied nor
	// snapshotted here.
	Custom ActionType = "custom"
)

var actionTypes = []ActionType{Skip, FSBackup, Snapshot, Custom}

// Action is what a policy does with the volumes that match it.
type Action struct {
	Type ActionType
	// Parameters mean something to those who carry out a custom action only.
	Parameters map[string]any
}

// Policies are the resource policies of one backup. Its methods are safe for
// concurrent use; nil stands for a backup without policies.
type Policies struct {
	volumes  []volumePolicy
	filters  filter.Spec // the newer family of lists alone
	lines    map[string]int
	warnings []string
}

type volumePolicy struct {
	conditions []condition
	action     Action
}

// ValidationError holds everything that is wrong with a text of policies.
type ValidationError = strictyaml.ValidationError

// noun is what the texts are about.
const noun = "policies"

// FromConfigMap reads the policies in the only key of a ConfigMap, whatever its
// name. An error is a *ValidationError; its problems name ConfigMap and key.
func FromConfigMap(cm *corev1.ConfigMap) (policies *Policies, err error) {
	err = strictyaml.FromConfigMap(cm, noun, func(text []byte) (problems []string) {
		policies, problems = parse(text)
		return problems
	})
	return policies, err
}

// Parse reads policies as YAML. An error is a *ValidationError.
func Parse(text []byte) (*Policies, error) {
	policies, problems := parse(text)
	return policies, strictyaml.Invalid(problems)
}

// Match returns the action of the first policy whose conditions all hold for
// the volume; false when there is none.
func (p *Policies) Match(v Volume) (*Action, bool) {
	if p == nil {
		return nil, false
	}
	facts := v.facts()
	for i := range p.volumes {
		if !slices.ContainsFunc(p.volumes[i].conditions, func(holds condition) bool { return !holds(facts) }) {
			action := p.volumes[i].action
			return &action, true
		}
	}
	return nil, false
}

// HasVolumePolicies reports whether there is a policy about volumes at all.
func (p *Policies) HasVolumePolicies() bool { return p != nil && len(p.volumes) > 0 }

// AsksFor reports whether any policy names the action.
func (p *Policies) AsksFor(t ActionType) bool {
	return p != nil && slices.ContainsFunc(p.volumes, func(v volumePolicy) bool { return v.action.Type == t })
}

// Warnings returns a text for everything that is allowed but has no effect,
// like a type of volumes that doesn't exist.
func (p *Policies) Warnings() []string {
	if p == nil {
		return nil
	}
	return slices.Clone(p.warnings)
}
