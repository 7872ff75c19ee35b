package kafkasec

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// TestUp: all children of framelog up are the user of the configuration, with the password of
// a variable or of the environment. It is not written to the disk.
func TestUp(t *testing.T) {
	const password = "up-secret"
	for name, env := range map[string][]string{
		"reference": {"FRAMELOG_KAFKA_SASL_PASSWORD=${FRAMELOG_SECRET_UP}", "FRAMELOG_SECRET_UP=" + password},
		"password":  {"FRAMELOG_KAFKA_SASL_PASSWORD=" + password},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t)
			c.user(t, "up")
			c.grant(t, "up", c.rights(t, "up", acls.Scope{Processors: []acls.Processor{{Name: "thumbnail", Outputs: []string{"thumbnail"}}}})...)
			_, url := system.Camera(t, camsim.CameraConfig{Feed: system.Loop(t, testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300})})
			f := testenv.Up(t, testenv.UpOptions{Env: env, Config: `
brokers: ["` + c.tls[0] + `"]
topic_prefix: "` + c.super.Prefix + `"
kafka:
  sasl: {mechanism: scram-sha-512, user: up}
  tls: {enabled: true, ca: "` + c.ca.File + `"}
processors: [{name: thumbnail}]
` + system.Cameras(map[string]string{"yard": url})})
			log := c.log(t)
			f.Wait(t, 4*testenv.Patience, "the camera is processed", func() bool {
				return len(entries(t, log, schemas.Topic{Camera: "yard", Rendition: "thumbnail"})) > 0
			})
			if all, err := system.Statuses(t, f.URL); err != nil || all["yard"].State != schemas.StateLive {
				t.Errorf("cameras: %+v, %v", all, err)
			}
			if err := filepath.WalkDir(f.Data, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				b, err := os.ReadFile(path)
				if strings.Contains(string(b), password) {
					t.Errorf("%s has the password", path)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
			if strings.Contains(f.Log.String(), password) {
				t.Error("the log has the password")
			}
		})
	}
}
