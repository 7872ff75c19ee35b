{{- define "framelog.fullname" -}}
{{- if contains "framelog" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-framelog{{ end -}}
{{- end -}}

{{/* The labels by which a role's pods are found. Call it with (list $ name). */}}
{{- define "framelog.selector" -}}
app.kubernetes.io/name: framelog
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "framelog.labels" -}}
{{ include "framelog.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* What decides about the chart, of the value config. */}}
{{- define "framelog.config" -}}
{{- $c := fromYaml .Values.config -}}
{{- with $c.Error }}{{ fail (printf "config: %s" .) }}{{ end -}}
{{- $access := default dict $c.access -}}
{{- if not (or $access.enabled $c.insecure) -}}
{{- fail "config: people have to sign in (access: {enabled: true}), or insecure: true says that all who reach egress may see all cameras" -}}
{{- end -}}
{{- $provider := (default dict $access.oidc).issuer -}}
{{- $engine := (default dict (default dict $c.ingest).rtsp).engine -}}
{{- if and .Values.ingest.slim (ne (default "" $engine) "native") -}}
{{- fail "ingest.slim: the image without GStreamer needs ingest: {rtsp: {engine: native}} in config" -}}
{{- end -}}
{{- toYaml (dict "provider" (not (empty $provider)) "processors" (default list $c.processors)) -}}
{{- end -}}

{{/*
All that run, by name: what they run, and their values. full: it needs GStreamer. outside: it
connects to more than brokers.
*/}}
{{- define "framelog.roles" -}}
{{- $config := include "framelog.config" . | fromYaml -}}
{{- $roles := dict -}}
{{- $_ := set $roles "ingest" (dict "args" (list "ingest" "--http" "0.0.0.0:9100") "full" (not .Values.ingest.slim) "outside" true "values" .Values.ingest) -}}
{{- $_ := set $roles "egress" (dict "args" (list "egress" "--listen" "0.0.0.0:8080" "--http" "0.0.0.0:9100") "outside" $config.provider "values" .Values.egress) -}}
{{- $_ := set $roles "monitor" (dict "args" (list "monitor" "--http" "0.0.0.0:9100") "values" .Values.monitor) -}}
{{- if .Values.archive.enabled -}}
{{- $_ := set $roles "archive" (dict "args" (list "archive" "--http" "0.0.0.0:9100") "values" .Values.archive) -}}
{{- end -}}
{{- range $name, $p := .Values.processors -}}
{{- $entry := dict "name" $name -}}
{{- range $config.processors }}{{ if eq .name $name }}{{ $entry = . }}{{ end }}{{ end -}}
{{- $kind := default $name $entry.kind -}}
{{- $pushes := eq $kind "forward" -}}
{{- $_ := set $roles (printf "process-%s" $name) (dict "args" (list "process" $name "--http" "0.0.0.0:9100" "--instance" "$(POD_NAME)") "full" (not $pushes) "outside" (or $pushes $p.outside) "processor" $name "kind" $kind "input" (default "raw" $entry.input) "values" (mergeOverwrite (deepCopy $.Values.processorDefaults) $p)) -}}
{{- end -}}
{{- toYaml $roles -}}
{{- end -}}

{{/* The name of the role that decodes snapshots for egress; empty if there is none. */}}
{{- define "framelog.pictures" -}}
{{- range $name, $r := include "framelog.roles" . | fromYaml -}}
{{- if eq (default "" $r.kind) "thumbnail" }}{{ $name }}{{ break }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "framelog.image" -}}
{{ index . 1 }}:{{ default (index . 0).Chart.AppVersion (index . 0).Values.image.tag }}
{{- end -}}

{{- define "framelog.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "framelog.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The environment of a role. Call it with (list $ values). */}}
{{- define "framelog.env" -}}
{{- $values := (index . 0).Values -}}
{{- if not $values.brokers }}{{ fail "brokers: name host:port of your brokers" }}{{ end -}}
- {name: FRAMELOG_CONFIG, value: /etc/framelog/framelog.yaml}
- {name: FRAMELOG_BROKERS, value: {{ join "," $values.brokers | quote }}}
- {name: FRAMELOG_INSECURE, value: "true"} # for --http: the NetworkPolicies say who may connect
- {name: FRAMELOG_LOG_FORMAT, value: json}
- {name: FRAMELOG_SECRETS_DIR, value: /run/secrets/framelog}
{{- with (index . 1).env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The host of the S3 store that has the archive; nothing if it is in a volume. */}}
{{- define "framelog.s3" -}}
{{- if .Values.archive.enabled }}{{ dig "archive" "s3" "endpoint" "" (fromYaml .Values.config) }}{{ end -}}
{{- end -}}

{{/*
How a role uses the volume of the archive: "write", "read" or nothing. Call it with (list $ name).
With an S3 store only the role archive has one, for files that are being uploaded.
*/}}
{{- define "framelog.archive" -}}
{{- if (index . 0).Values.archive.enabled -}}
{{- if eq (index . 1) "archive" }}write{{ else if and (has (index . 1) (list "egress" "ingest")) (not (include "framelog.s3" (index . 0))) }}read{{ end -}}
{{- end -}}
{{- end -}}

{{/* What a role mounts. Call it with (list $ name). */}}
{{- define "framelog.mounts" -}}
- {name: config, mountPath: /etc/framelog, readOnly: true}
- {name: secrets, mountPath: /run/secrets/framelog, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- with include "framelog.archive" . }}
- {name: archive, mountPath: /var/lib/framelog, readOnly: {{ eq . "read" }}}
{{- end }}
{{- end -}}

{{/*
The volumes of a role. Call it with (list $ values name): ingest gets passwords of cameras, and who
uses it the volume of the archive.
*/}}
{{- define "framelog.volumes" -}}
{{- $secrets := (index . 0).Values.secrets -}}
{{- $kafka := default $secrets.kafka (index . 1).kafkaSecret -}}
{{- $cameras := ternary $secrets.cameras "" (eq (index . 2) "ingest") -}}
- name: config
  configMap: {name: {{ include "framelog.fullname" (index . 0) }}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- if include "framelog.archive" (list (index . 0) (index . 2)) }}
- name: archive
  {{- if include "framelog.s3" (index . 0) }}
  emptyDir: {}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ required "archive.claim: name a PersistentVolumeClaim for the archive, or an S3 store in config (archive.s3)" (index . 0).Values.archive.claim }}}
  {{- end }}
{{- end }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range list $kafka $cameras }}
      {{- if . }}
      - secret: {name: {{ . }}}
      {{- end }}
      {{- end }}
      {{- if not (or $kafka $cameras) }} []{{ end }}
{{- end -}}
