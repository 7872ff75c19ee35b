package chart

import (
	"strings"
	"testing"
)

// The archiver writes into the volume that the values name. Egress and ingest read it, and no
// other role has it.
func TestArchive(t *testing.T) {
	for _, d := range decode(t, most).deployments {
		pod := d.Spec.Template.Spec
		claim, mount, dir, writes := "", "", "", false
		for _, v := range pod.Volumes {
			if v.PersistentVolumeClaim != nil {
				claim = v.Name + " " + v.PersistentVolumeClaim.ClaimName
			}
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			if m.Name == "archive" {
				mount, writes = m.MountPath, !m.ReadOnly
			}
		}
		for _, e := range pod.Containers[0].Env {
			if e.Name == "FRAMELOG_ARCHIVE_DIR" {
				dir = e.Value
			}
		}
		has := claim == "archive footage" && mount != "" && strings.HasPrefix(dir, mount+"/")
		use := map[string]string{"cams-framelog-archive": "write", "cams-framelog-egress": "read", "cams-framelog-ingest": "read"}[d.Name]
		if has != (use != "") || !has && claim+mount+dir != "" || writes != (use == "write") {
			t.Errorf("%s: claim %q at %q, directory %q, may write: %v", d.Name, claim, mount, dir, writes)
		}
	}
}

// With an S3 store in config there is no claim: the archiver has a volume of its own for what it
// uploads, and it and egress may reach the store. Ingest may reach all.
func TestArchiveInS3(t *testing.T) {
	all := decode(t, least+`
archive: {enabled: true}
networkPolicy: {s3Ports: [9000]}
config: |
  archive: {s3: {endpoint: "s3.example.org:9000", bucket: footage, access_key: a, secret_key: "${FRAMELOG_SECRET_S3}"}}
  insecure: true
`)
	for _, d := range all.deployments {
		volumes := 0
		for _, v := range d.Spec.Template.Spec.Volumes {
			if v.PersistentVolumeClaim != nil {
				t.Errorf("%s has the claim %s", d.Name, v.PersistentVolumeClaim.ClaimName)
			}
			if v.Name == "archive" && v.EmptyDir != nil {
				volumes++
			}
		}
		if want := map[bool]int{true: 1}[strings.HasSuffix(d.Name, "-archive")]; volumes != want {
			t.Errorf("%s has %d volumes for the archive", d.Name, volumes)
		}
	}
	reach := map[string]bool{}
	for _, p := range all.policies {
		for _, e := range p.Spec.Egress {
			for _, port := range e.Ports {
				if port.Port.IntValue() == 9000 {
					reach[p.Name[strings.LastIndex(p.Name, "-")+1:]] = true
				}
			}
		}
	}
	if !reach["archive"] || !reach["egress"] || len(reach) != 2 {
		t.Errorf("port 9000 can be reached by %v", reach)
	}
}
