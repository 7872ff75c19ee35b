// Package chart tests the Helm chart: Helm itself lints and renders it, and what it makes is
// decoded strictly into the types of Kubernetes.
package chart

import (
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const folder = "../../../../deploy/helm/framelog"

// least are the values that somebody must give, and most use all that the chart has.
const (
	least = `brokers: ["redpanda-0.redpanda:9092"]`
	most  = `
brokers: ["kafka-1:9093", "kafka-2:9093"]
image: {tag: v1.2.3, pullSecrets: [{name: registry}]}
secrets: {cameras: cameras, kafka: kafka}
config: |
  name: site
  access: {enabled: true}
  kafka: {sasl: {mechanism: plain, password: "${file:password}"}, tls: {enabled: true}}
  cameras: [{id: yard, url: "rtsp://viewer:${file:yard}@10.0.0.5/1"}]
  processors:
    - {name: transcode, settings: {ladder: [{name: 360p, height: 360, bitrate: 600k}]}}
    - {name: push, kind: forward, settings: {url: "rtsp://${FRAMELOG_SECRET_MEDIA}@media/{camera}"}}
    - {name: stills, kind: thumbnail}
    - {name: people, kind: exec, input: 360p, exec: {command: [cat], size: 640x360}}
ingest: {replicas: 3, labels: {team: video}, annotations: {a: b}, nodeSelector: {disk: ssd}, tolerations: [{key: video, operator: Exists}], env: [{name: FRAMELOG_KAFKA_SASL_USER, value: ingest}]}
egress: {scale: {enabled: true, min: 2, max: 8, cpu: 60}, env: [{name: FRAMELOG_KAFKA_SASL_USER, value: egress}], kafkaSecret: kafka-egress}
monitor: {env: [{name: FRAMELOG_KAFKA_SASL_USER, value: monitor}]}
archive: {enabled: true, claim: footage, env: [{name: FRAMELOG_KAFKA_SASL_USER, value: archive}]}
cameras: {env: [{name: FRAMELOG_KAFKA_SASL_USER, value: admin}], kafkaSecret: kafka-admin}
processors:
  transcode: {resources: {requests: {cpu: "2"}}, scale: {enabled: true, min: 1, max: 20, lagSeconds: 15}, env: [{name: FRAMELOG_KAFKA_SASL_USER, value: transcode}]}
  push: {replicas: 2, env: [{name: FRAMELOG_KAFKA_SASL_USER, value: push}, {name: FRAMELOG_SECRET_MEDIA, valueFrom: {secretKeyRef: {name: media, key: password}}}]}
  stills: {env: [{name: FRAMELOG_KAFKA_SASL_USER, value: stills}]}
  people: {image: "example/people:1", outside: true, scale: {enabled: true}, env: [{name: FRAMELOG_KAFKA_SASL_USER, value: people}]}
ingress: {enabled: true, className: nginx, host: cams.example, tlsSecret: cams, annotations: {x: "y"}}
prometheus:
  serviceMonitors: {enabled: true, labels: {release: prometheus}}
  rules: {enabled: true, labels: {release: prometheus}}
grafana: {dashboards: {enabled: true}}
networkPolicy: {brokerPorts: [9093], viewers: []}
`
)

// documented are the values in docs/deploy.md.
func documented(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile("(?s)```yaml\n# my-values.yaml\n(.*?)```").FindStringSubmatch(read(t, "../../../../docs/deploy.md"))
	if m == nil {
		t.Fatal("docs/deploy.md has no values")
	}
	return m[1]
}

// scaledObject is what the chart uses of KEDA's type of this name (keda.sh/v1alpha1).
type scaledObject struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ScaleTargetRef  struct{ Name string }
		MinReplicaCount *int32
		MaxReplicaCount *int32
		CooldownPeriod  *int32
		Triggers        []struct {
			Type       string
			MetricType string
			Metadata   map[string]string
		}
	}
}

// objects is what the chart makes, decoded.
type objects struct {
	deployments []*apps.Deployment
	jobs        []*batch.Job
	services    []*core.Service
	configs     []*core.ConfigMap
	budgets     []*policy.PodDisruptionBudget
	policies    []*networking.NetworkPolicy
	ingresses   []*networking.Ingress
	monitors    []*monitoring.ServiceMonitor
	rules       []*monitoring.PrometheusRule
	scaled      []*scaledObject
}

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // Helm tells of each symbolic link: rules and dashboards are some
	os.Exit(m.Run())
}

func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	if err := monitoring.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

var load = sync.OnceValues(func() (*chart.Chart, error) { return loader.LoadDir(folder) })

// render returns the files that Helm makes.
func render(t *testing.T, text string) (map[string]string, error) {
	t.Helper()
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	v, err := chartutil.ToRenderValues(c, values(t, text), chartutil.ReleaseOptions{Name: "cams", Namespace: "video", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, v)
}

// decode renders the chart and decodes what it makes. It fails for a key that Kubernetes does
// not know.
func decode(t *testing.T, text string) (o objects) {
	t.Helper()
	files, err := render(t, text)
	if err != nil {
		t.Fatal(err)
	}
	d := decoder(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, doc := range strings.Split(files[name], "\n---") {
			if !strings.Contains(doc, "kind:") {
				continue
			}
			if strings.Contains(doc, "kind: ScaledObject") {
				var s scaledObject
				if err := yaml.UnmarshalStrict([]byte(doc), &s); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, doc)
				}
				o.scaled = append(o.scaled, &s)
				continue
			}
			obj, _, err := d.Decode([]byte(doc), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			switch obj := obj.(type) {
			case *apps.Deployment:
				o.deployments = append(o.deployments, obj)
			case *batch.Job:
				o.jobs = append(o.jobs, obj)
			case *core.Service:
				o.services = append(o.services, obj)
			case *core.ConfigMap:
				o.configs = append(o.configs, obj)
			case *policy.PodDisruptionBudget:
				o.budgets = append(o.budgets, obj)
			case *networking.NetworkPolicy:
				o.policies = append(o.policies, obj)
			case *networking.Ingress:
				o.ingresses = append(o.ingresses, obj)
			case *monitoring.ServiceMonitor:
				o.monitors = append(o.monitors, obj)
			case *monitoring.PrometheusRule:
				o.rules = append(o.rules, obj)
			default:
				t.Errorf("%s: a %T is not expected", name, obj)
			}
		}
	}
	return o
}

func TestLint(t *testing.T) {
	for name, text := range map[string]string{"least": least, "most": most, "documented": documented(t)} {
		for _, m := range lint.All(folder, values(t, text), "video", true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
	for text, want := range map[string]string{
		"{}":                                 "brokers",
		least + "\nbroker: x":                "broker",
		least + "\negress: {replica: 2}":     "replica",
		least + "\nconfig: 'cameras: []'":    "access",
		least + "\narchive: {enabled: true}": "archive.claim",
		least + "\nconfig: 'cameras: ['":     "config",
	} {
		if _, err := render(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", text, err, want)
		}
	}
}

// Each role has what keeps it running, and nothing that it could misuse.
func TestPods(t *testing.T) {
	for name, text := range map[string]string{"least": least, "most": most} {
		o := decode(t, text)
		want := map[string]int{"least": 3, "most": 8}[name]
		if len(o.deployments) != want || len(o.budgets) != want || len(o.policies) != want+1 || len(o.services) != want+1 || len(o.jobs) != 1 {
			t.Errorf("%s: %d deployments, %d budgets, %d policies, %d services, %d jobs", name, len(o.deployments), len(o.budgets), len(o.policies), len(o.services), len(o.jobs))
		}
		for _, d := range o.deployments {
			checkPod(t, d.Name, d.Spec.Template)
			c := d.Spec.Template.Spec.Containers[0]
			if c.LivenessProbe == nil || c.ReadinessProbe == nil || c.StartupProbe == nil || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
				t.Errorf("%s lacks probes", d.Name)
			}
			if len(d.Spec.Template.Spec.TopologySpreadConstraints) != 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
				t.Errorf("%s does not spread, or stops before another one runs", d.Name)
			}
			pod := labels.Set(d.Spec.Template.Labels)
			selected := map[string]int{}
			for _, b := range o.budgets {
				selected["budget"] += matches(t, b.Spec.Selector, pod)
			}
			for _, p := range o.policies {
				selected["policy"] += matches(t, &p.Spec.PodSelector, pod)
			}
			for _, s := range o.services {
				selected["service"] += matches(t, meta.SetAsLabelSelector(s.Spec.Selector), pod)
			}
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				selected["spread"] += matches(t, c.LabelSelector, pod)
			}
			services := 1
			if d.Name == "cams-framelog-egress" {
				services = 2 // one for viewers, one for Prometheus
			}
			if want := fmt.Sprintf("map[budget:1 policy:1 service:%d spread:2]", services); fmt.Sprint(selected) != want {
				t.Errorf("%s is selected by %v, want %s", d.Name, selected, want)
			}
			ports := map[string]bool{}
			for _, p := range c.Ports {
				ports[p.Name] = true
			}
			for _, s := range o.services {
				if matches(t, meta.SetAsLabelSelector(s.Spec.Selector), pod) == 1 && !ports[s.Spec.Ports[0].TargetPort.String()] {
					t.Errorf("the service %s finds no port of %s", s.Name, d.Name)
				}
			}
		}
		checkPod(t, o.jobs[0].Name, o.jobs[0].Spec.Template)
	}
}

func checkPod(t *testing.T, name string, pod core.PodTemplateSpec) {
	t.Helper()
	s, c := pod.Spec, pod.Spec.Containers[0]
	if s.SecurityContext == nil || !*s.SecurityContext.RunAsNonRoot || *s.AutomountServiceAccountToken ||
		!*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation || !slices.Equal(c.SecurityContext.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("%s has rights that it does not need", name)
	}
	if c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s requests no CPU", name)
	}
}

func matches(t *testing.T, selector *meta.LabelSelector, pod labels.Set) int {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	if s.Matches(pod) {
		return 1
	}
	return 0
}

// The passwords of cameras go to ingest, and the Secret for Kafka to the role that it belongs
// to. No pod may connect to anything but brokers and DNS, except those whose work it is.
func TestSecretsAndNetwork(t *testing.T) {
	o := decode(t, most)
	outside := []string{"cams-framelog-ingest", "cams-framelog-process-people", "cams-framelog-process-push"}
	for _, d := range o.deployments {
		var secrets []string
		for _, v := range d.Spec.Template.Spec.Volumes {
			if v.Projected == nil {
				continue
			}
			for _, s := range v.Projected.Sources {
				secrets = append(secrets, s.Secret.Name)
			}
		}
		want := "[kafka]"
		switch d.Name {
		case "cams-framelog-ingest":
			want = "[kafka cameras]"
		case "cams-framelog-egress":
			want = "[kafka-egress]"
		}
		if fmt.Sprint(secrets) != want {
			t.Errorf("%s gets the secrets %v, want %s", d.Name, secrets, want)
		}
		for _, p := range o.policies {
			if p.Name == d.Name && (anywhere(p) != slices.Contains(outside, d.Name) || len(p.Spec.PolicyTypes) != 2) {
				t.Errorf("%s may connect to anything: %v", d.Name, anywhere(p))
			}
		}
	}
	for _, i := range o.ingresses {
		for _, p := range i.Spec.Rules[0].HTTP.Paths {
			if p.Path == "/metrics" || p.Path == "/" && *p.PathType != networking.PathTypeExact {
				t.Errorf("the Ingress publishes %s (%s)", p.Path, *p.PathType)
			}
		}
	}
	provider := strings.Replace(most, "{enabled: true}", "{enabled: true, oidc: {issuer: https://login.example}}", 1)
	for _, p := range decode(t, provider).policies {
		if p.Name == "cams-framelog-egress" && !anywhere(p) {
			t.Error("egress may not connect to the provider of OpenID Connect")
		}
	}
}

func anywhere(p *networking.NetworkPolicy) bool {
	return slices.ContainsFunc(p.Spec.Egress, func(r networking.NetworkPolicyEgressRule) bool { return len(r.Ports) == 0 })
}

// Egress finds the process that decodes snapshots, and both may talk to each other.
func TestPictures(t *testing.T) {
	o := decode(t, most)
	var url string
	for _, d := range o.deployments {
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if e.Name == "FRAMELOG_EGRESS_THUMBNAIL" {
				url += d.Name + " asks " + e.Value
			}
		}
	}
	if url != "cams-framelog-egress asks http://cams-framelog-process-stills:9100" {
		t.Error(url)
	}
	allowed := ""
	for _, p := range o.policies {
		for _, r := range p.Spec.Ingress {
			for _, from := range r.From {
				if from.PodSelector != nil {
					allowed += p.Name + " from " + from.PodSelector.MatchLabels["app.kubernetes.io/component"] + "\n"
				}
			}
		}
		for _, r := range p.Spec.Egress {
			for _, to := range r.To {
				allowed += p.Name + " to " + to.PodSelector.MatchLabels["app.kubernetes.io/component"] + "\n"
			}
		}
	}
	if allowed != "cams-framelog-egress to process-stills\ncams-framelog-process-stills from egress\n" {
		t.Error(allowed)
	}
}

// Each ScaledObject scales a deployment that has no number of replicas of its own: processors
// by lag in seconds, egress by CPU.
func TestScale(t *testing.T) {
	o := decode(t, most)
	triggers := map[string]string{}
	for _, s := range o.scaled {
		for _, d := range o.deployments {
			if d.Name == s.Spec.ScaleTargetRef.Name && d.Spec.Replicas == nil {
				triggers[strings.TrimPrefix(s.Name, "cams-framelog-")] = s.Spec.Triggers[0].Type + " " + s.Spec.Triggers[0].Metadata["query"]
			}
		}
	}
	want := map[string]string{
		"egress":            "cpu ",
		"process-transcode": `prometheus max(framelog_monitor_group_lag_seconds{group="framelog-process-transcode",rendition="raw"})`,
		"process-people":    `prometheus max(framelog_monitor_group_lag_seconds{group="framelog-process-people",rendition="360p"})`,
	}
	if !maps.Equal(triggers, want) {
		t.Errorf("scaled: %v, want %v", triggers, want)
	}
}

// Each ServiceMonitor finds one service. The rules and the dashboards are those of deploy.
func TestMonitoring(t *testing.T) {
	o := decode(t, most)
	for _, m := range o.monitors {
		found := 0
		for _, s := range o.services {
			if s.Spec.Ports[0].Name == m.Spec.Endpoints[0].Port {
				found += matches(t, &m.Spec.Selector, labels.Set(s.Labels))
			}
		}
		if found != 1 {
			t.Errorf("the ServiceMonitor %s finds %d services", m.Name, found)
		}
	}
	if len(o.monitors) != len(o.deployments) {
		t.Errorf("%d ServiceMonitors of %d deployments", len(o.monitors), len(o.deployments))
	}

	rules := 0
	for _, g := range o.rules[0].Spec.Groups {
		rules += len(g.Rules)
	}
	want := 0
	for _, path := range glob(t, "prometheus/rules/*.yml") {
		want += strings.Count(read(t, path), "- alert: ") + strings.Count(read(t, path), "- record: ")
	}
	if rules != want || want == 0 {
		t.Errorf("%d rules, want %d", rules, want)
	}

	all := map[string]string{}
	for _, c := range o.configs {
		if c.Labels["grafana_dashboard"] == "1" {
			all = c.Data
		}
	}
	boards := glob(t, "grafana/dashboards/*.json")
	for _, path := range boards {
		if all[filepath.Base(path)] != read(t, path) {
			t.Errorf("%s is not in the ConfigMap", path)
		}
	}
	if len(all) != len(boards) {
		t.Errorf("%d dashboards, want %d", len(all), len(boards))
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob("../../../../deploy/" + pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
