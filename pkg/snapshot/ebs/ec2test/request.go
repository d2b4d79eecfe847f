package ec2test

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPage is how much one answer has at most.
const maxPage = 1000

// apiVersion is the one version of the API.
const apiVersion = "2016-11-15"

// refusal is an error of the API.
type refusal struct {
	status        int
	code, message string
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func refuse(code, message string) *refusal {
	return &refusal{http.StatusBadRequest, code, message}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	defer s.enter()()
	v, err := url.ParseQuery(string(body))
	if err == nil {
		err = checkSignature(r, body)
	}
	if v.Get("Version") != apiVersion && err == nil {
		err = refuse("NoSuchVersion", "The requested version ("+v.Get("Version")+") of service AmazonEC2 does not exist")
	}
	fault := s.fault(v)
	if fault != nil {
		time.Sleep(fault.Delay)
	}
	var a answer
	if err == nil {
		a, err = s.answer(v, fault)
	}
	s.note(v, err)
	if fault != nil && fault.Cut {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
		return
	}
	write(w, v.Get("Action"), a, err)
}

// answer carries the request out, as far as a fault lets it.
func (s *Server) answer(v url.Values, fault *Fault) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault != nil && !fault.Done && (fault.Code != "" || fault.Cut) {
		return nil, fault.refusal()
	}
	if err := s.authorize(v); err != nil {
		return nil, err
	}
	a, err := s.dispatch(v)
	if err == nil && fault != nil && fault.Done {
		return nil, fault.refusal()
	}
	return a, err
}

func (s *Server) dispatch(v url.Values) (answer, error) {
	switch action := v.Get("Action"); action {
	case "DescribeVolumes":
		return s.describeVolumes(v)
	case "CreateVolume":
		return s.createVolume(v)
	case "DescribeSnapshots":
		return s.describeSnapshots(v)
	case "CreateSnapshot":
		return s.createSnapshot(v)
	case "DeleteSnapshot":
		return s.deleteSnapshot(v)
	case "DescribeAvailabilityZones":
		return s.describeZones(), nil
	default:
		return nil, refuse("InvalidAction", fmt.Sprintf("The action %s is not valid for this web service.", action))
	}
}

// authorize looks at the rights: of the action, and for tags in what is created.
func (s *Server) authorize(v url.Values) error {
	if s.allowed == nil {
		return nil
	}
	needed := []string{"ec2:" + v.Get("Action")}
	if strings.HasPrefix(v.Get("Action"), "Create") && v.Has("TagSpecification.1.ResourceType") {
		needed = append(needed, "ec2:CreateTags")
	}
	for _, action := range needed {
		if slices.Contains(s.allowed, action) {
			continue
		}
		return &refusal{http.StatusForbidden, "UnauthorizedOperation", fmt.Sprintf("You are not authorized to perform this operation. "+
			"User: arn:aws:iam::%s:user/velero is not authorized to perform: %s on resource: * because no identity-based policy allows the %[2]s action. "+
			"Encoded authorization failure message: bm90IGZvciB5b3VyIGV5ZXM", Account, action)}
	}
	return nil
}

func (s *Server) note(v url.Values, err error) {
	r := Request{Time: time.Now(), Action: v.Get("Action"), ID: idOf(v), Params: v}
	if e := (*refusal)(nil); errors.As(err, &e) {
		r.Code = e.code
	}
	s.mu.Lock()
	s.requests = append(s.requests, r)
	f := s.onRequest
	s.mu.Unlock()
	if f != nil {
		f(r.Action)
	}
}

// idOf is the disk or snapshot that a request names first.
func idOf(v url.Values) string {
	for _, name := range []string{"SnapshotId", "VolumeId", "SnapshotId.1", "VolumeId.1"} {
		if v.Has(name) {
			return v.Get(name)
		}
	}
	return ""
}

// write sends an answer, or an error.
func write(w http.ResponseWriter, action string, a answer, err error) {
	id := newID("request-")
	status, body, element := http.StatusOK, any(a), xml.Name{Space: "http://ec2.amazonaws.com/doc/" + apiVersion + "/", Local: action + "Response"}
	if err == nil {
		a.begin(id)
	} else {
		r := refuse("InvalidParameterValue", err.Error())
		_ = errors.As(err, &r)
		status, element = r.status, xml.Name{Local: "Response"}
		body = errorAnswer{Code: r.code, Message: r.message, RequestID: id}
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).EncodeElement(body, xml.StartElement{Name: element})
}

// list is a parameter NAME.1, NAME.2 and so on.
func list(v url.Values, name string) []string {
	var values []string
	for i := 1; v.Has(fmt.Sprintf("%s.%d", name, i)); i++ {
		values = append(values, v.Get(fmt.Sprintf("%s.%d", name, i)))
	}
	return values
}

// sameRequest compares what counts for a client token.
func sameRequest(a, b url.Values) bool { return a.Encode() == b.Encode() }

// Limits of tags: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
const maxTags, maxTagKey, maxTagValue = 50, 128, 256

// tagsOf reads and checks the tags for what is created.
func tagsOf(v url.Values, resource string) (map[string]string, error) {
	tags := map[string]string{}
	if got := v.Get("TagSpecification.1.ResourceType"); got != "" && got != resource {
		return nil, refuse("InvalidParameterValue", fmt.Sprintf("'%s' is not a valid taggable resource type for this operation.", got))
	}
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("TagSpecification.1.Tag.%d.", i)
		if !v.Has(prefix + "Key") {
			break
		}
		key, value := v.Get(prefix+"Key"), v.Get(prefix+"Value")
		_, twice := tags[key]
		switch {
		case twice:
			return nil, refuse("InvalidParameterValue", fmt.Sprintf("Duplicate tag key '%s' specified.", key))
		case strings.HasPrefix(key, "aws:"):
			return nil, refuse("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case key == "" || len([]rune(key)) > maxTagKey:
			return nil, refuse("InvalidParameterValue", fmt.Sprintf("Tag key exceeds the maximum length of %d characters", maxTagKey))
		case len([]rune(value)) > maxTagValue:
			return nil, refuse("InvalidParameterValue", fmt.Sprintf("Tag value exceeds the maximum length of %d characters", maxTagValue))
		}
		tags[key] = value
	}
	if len(tags) > maxTags {
		return nil, refuse("TagLimitExceeded", fmt.Sprintf("The maximum number of tags per resource is %d.", maxTags))
	}
	return tags, nil
}

var errNoMatch = errors.New("it doesn't match")

// matches applies the filters of a request: each of them must have one of its
// values. errNoMatch is the error of what isn't meant.
func matches(v url.Values, tags, fields map[string]string) error {
	for i := 1; v.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		name := v.Get(fmt.Sprintf("Filter.%d.Name", i))
		value, ok := fields[name]
		if tag, isTag := strings.CutPrefix(name, "tag:"); isTag {
			if value, ok = tags[tag]; !ok {
				return errNoMatch
			}
		}
		if !ok {
			return refuse("InvalidParameterValue", fmt.Sprintf("The filter '%s' is invalid", name))
		}
		if !slices.Contains(list(v, fmt.Sprintf("Filter.%d.Value", i)), value) {
			return errNoMatch
		}
	}
	return nil
}

// page says which of so many belong into this answer.
func (s *Server) page(v url.Values, all int) (from, to int, next string, err error) {
	if token := v.Get("NextToken"); token != "" {
		text, err := base64.StdEncoding.DecodeString(token)
		if err == nil {
			from, err = strconv.Atoi(string(text))
		}
		if err != nil || from > all {
			return 0, 0, "", refuse("InvalidParameterValue", "Unable to parse pagination token")
		}
	}
	size := s.pageSize
	if asked, err := strconv.Atoi(v.Get("MaxResults")); err == nil {
		size = min(size, asked)
	}
	to = min(all, from+size)
	if to < all {
		next = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	return from, to, next, nil
}
