package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// users runs `framelog users` and returns what it prints.
func users(t *testing.T, f *testenv.Framelog, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Binary(t), append([]string{"users", "--config", f.Config()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("framelog users %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// visitor is a client that has a name.
type visitor struct {
	t      *testing.T
	client *http.Client
	base   string
	header http.Header
}

// ask sends a request. It returns the answer and its body.
func (v visitor) ask(method, path, body string) (*http.Response, string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	maps.Copy(req.Header, v.header)
	req.Header.Set("Content-Type", "application/json")
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp, string(b)
}

func (v visitor) as(name, value string) visitor {
	v.header = http.Header{name: {value}}
	return v
}

// TestOverANetwork: on an address that others reach, framelog up speaks TLS with the
// certificate whose fingerprint it prints, and HTTP/2; and it tells only those who sign in, what
// they may see, until they may not.
func TestOverANetwork(t *testing.T) {
	t.Parallel()
	port := testenv.FreePort(t)
	f := testenv.Up(t, testenv.UpOptions{NoWait: true, Config: "access:\n  enabled: true\ncameras:\n  - {id: vault, url: 'rtsp://127.0.0.1:1/x'}\n", Args: []string{"--listen", fmt.Sprintf("0.0.0.0:%d", port)}})
	f.Wait(t, 2*testenv.Patience, "ready", func() bool { return f.Log.Contains("fingerprint is ") })
	printed := regexp.MustCompile(`fingerprint is ([0-9A-F:]{95})`).FindStringSubmatch(f.Log.String())
	if printed == nil || !f.Log.Contains("Framelog is ready: https://localhost:") {
		t.Fatalf("printed:\n%s", f.Log.String())
	}
	if !f.Log.Contains("framelog users add NAME --role admin") {
		t.Error("it does not say how to make the first administrator")
	}
	seen := ""
	all := visitor{t: t, base: fmt.Sprintf("https://localhost:%d", port), client: &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, // the fingerprint is compared instead
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			sum := sha256.Sum256(raw[0])
			seen = hex.EncodeToString(sum[:])
			return nil
		},
	}}}}
	nobody := all.as("Accept", "*/*")
	resp, _ := nobody.ask("GET", "/v1/cameras", "")
	if resp.StatusCode != 401 || resp.ProtoMajor != 2 {
		t.Errorf("nobody: %s over %s", resp.Status, resp.Proto)
	}
	if want := strings.ToLower(strings.ReplaceAll(printed[1], ":", "")); seen != want {
		t.Errorf("fingerprint %s, printed %s", seen, want)
	}
	plain := visitor{t: t, base: fmt.Sprintf("http://localhost:%d", port), client: http.DefaultClient}
	if resp, _ := plain.ask("GET", "/v1/cameras", ""); resp.StatusCode != 400 {
		t.Errorf("without TLS: %s", resp.Status)
	}

	made := users(t, f, "", "add", "root", "--role", "admin")
	password := regexp.MustCompile(`only now: (\S+)`).FindStringSubmatch(made)
	users(t, f, "viewers password", "add", "anna", "--role", "viewer", "--cameras", "yard", "--password-stdin")
	token := regexp.MustCompile(`fl_\S+`).FindString(users(t, f, "", "token", "anna", "--label", "test"))
	if password == nil || token == "" || !strings.Contains(users(t, f, "", "list"), "anna") {
		t.Fatalf("made %q, token %q", made, token)
	}
	signIn := func(name, password string) visitor {
		t.Helper()
		resp, body := nobody.ask("POST", "/v1/session", fmt.Sprintf(`{"name":%q,"password":%q}`, name, password))
		if c := resp.Cookies(); resp.StatusCode == 200 && len(c) == 1 && c[0].Secure {
			return all.as("Cookie", c[0].Name+"="+c[0].Value)
		}
		t.Fatalf("%s signs in: %s %s", name, resp.Status, body)
		return visitor{}
	}
	f.Wait(t, testenv.Patience, "the users", func() bool {
		resp, _ := all.as("Authorization", "Bearer "+token).ask("GET", "/v1/cameras", "")
		return resp.StatusCode == 200
	})
	root, anna, program := signIn("root", password[1]), signIn("anna", "viewers password"), all.as("Authorization", "Bearer "+token)
	check := func(what string, v visitor, path string, code int, tells bool) {
		t.Helper()
		resp, body := v.ask("GET", path, "")
		if resp.StatusCode != code || strings.Contains(body, "vault") != tells {
			t.Errorf("%s, %s: %s, vault is named: %v", what, path, resp.Status, strings.Contains(body, "vault"))
		}
	}
	check("root", root, "/v1/cameras", 200, true)
	// Both tell of a camera when they have heard of it.
	for _, path := range []string{"/metrics", "/v1/lag"} {
		f.Wait(t, testenv.Patience, path, func() bool {
			resp, body := root.ask("GET", path, "")
			return resp.StatusCode == 200 && strings.Contains(body, "vault")
		})
	}
	for what, v := range map[string]visitor{"anna": anna, "her token": program} {
		check(what, v, "/v1/cameras", 200, false)
		check(what, v, "/metrics", 403, false)
		check(what, v, "/v1/lag", 403, false)
	}
	check("nobody", nobody, "/metrics", 401, false)
	check("nobody", nobody, "/v1/lag", 401, false)
	check("nobody", nobody, "/healthz", 200, false)

	until401 := func(what string, v visitor) {
		t.Helper()
		f.Wait(t, testenv.Patience, what, func() bool { resp, _ := v.ask("GET", "/v1/cameras", ""); return resp.StatusCode == 401 })
	}
	users(t, f, "another password", "reset", "anna", "--password-stdin")
	until401("the session ends with the password", anna)
	check("her token after that", program, "/v1/cameras", 200, false)
	users(t, f, "", "remove", "anna")
	until401("the token ends with the user", program)
	if resp, _ := root.ask("DELETE", "/v1/session", ""); resp.StatusCode != 204 {
		t.Errorf("sign-out: %s", resp.Status)
	}
	check("after sign-out", root, "/v1/cameras", 401, false)
	for _, secret := range []string{password[1], token, "viewers password"} {
		if f.Log.Contains(secret) {
			t.Error("the log holds a secret")
		}
	}
	if lines := f.Log.Lines("event=sign-in user=anna"); len(lines) != 1 || !strings.Contains(lines[0], "address=127.0.0.1") && !strings.Contains(lines[0], "address=::1") {
		t.Errorf("audit: %q", lines)
	}
}

// TestSignInOnThePage: a person signs in on the page, sees a camera, shares it, and signs out.
// The link shows the camera to somebody who is not signed in.
func TestSignInOnThePage(t *testing.T) {
	b := testenv.Chromium(t)
	_, url := system.Camera(t, camsim.CameraConfig{Feed: system.Loop(t, testenv.Clip{Seconds: 4})})
	f := testenv.Up(t, testenv.UpOptions{Config: "access:\n  enabled: true\n" + system.Cameras(map[string]string{"cam": url, "vault": url})})
	users(t, f, "correct horse battery", "add", "anna", "--role", "viewer", "--cameras", "cam", "--password-stdin")
	p := b.Open(t, f.URL+"/#/lag")
	tellFailure(t, p)
	p.Wait(testenv.Patience, "document.querySelector('.card form')?.checkVisibility() && document.getElementById('lag').hidden")
	p.Eval("location.hash = '#cam'", nil)
	fill := func(password string) {
		t.Helper()
		p.Wait(testenv.Patience, "document.querySelector('.card form')")
		p.Eval(fmt.Sprintf(`(() => {
			const [name, password] = document.querySelectorAll('.card input');
			name.value = 'anna'; password.value = %q;
			document.querySelector('.card form').requestSubmit();
		})()`, password), nil)
	}
	fill("wrong password")
	p.Wait(testenv.Patience, "document.querySelector('.card .problem')?.textContent.includes('wrong')")
	fill("correct horse battery")
	p.Wait(2*testenv.Patience, "document.getElementById('who')?.textContent === 'anna' && window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')")
	var ids []string
	if p.Eval("window.framelog.cameras().map(c => c.id)", &ids); len(ids) != 1 || ids[0] != "cam" {
		t.Errorf("she sees %v", ids)
	}
	var add bool
	if p.Eval("!document.getElementById('add').hidden", &add); add {
		t.Error("a viewer can add cameras")
	}

	p.Eval("[...document.querySelectorAll('#stage button')].find(b => b.textContent.includes('Share')).click()", nil)
	p.Eval("document.querySelector('dialog form').requestSubmit()", nil)
	p.Wait(testenv.Patience, "document.querySelector('dialog input')?.value")
	var link string
	p.Eval("document.querySelector('dialog input').value", &link)
	p.Eval("document.getElementById('sign-out').click()", nil)
	p.Wait(testenv.Patience, "document.querySelector('.card form')")
	var code int
	if p.Eval("fetch('/v1/cameras').then(r => r.status)", &code); code != 401 {
		t.Errorf("after sign-out: %d", code)
	}

	shared := b.Open(t, link)
	tellFailure(t, shared)
	shared.Wait(2*testenv.Patience, "document.querySelector('#stage video')?.currentTime > 0.5 && window.framelog.players()[0].via === 'socket'")
	if shared.Eval("fetch('/v1/cameras').then(r => r.status)", &code); code != 401 {
		t.Errorf("with a link: %d", code)
	}
}
