package config

import (
	"cmp"
	"errors"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// CheckOpen checks an address to listen on. It returns an error if the address is
// malformed, or if other machines can reach it and insecure is false. The error
// says what they could do (harm), and what to do instead (remedy).
func (c *Config) CheckOpen(key, addr, harm, remedy string) error {
	if err := checkAddress(addr); err != "" {
		return c.Errorf(key, "want host:port, as 127.0.0.1:8080", "%q: %s", addr, err)
	}
	if !Loopback(addr) && !c.Insecure {
		return c.Errorf(key, remedy+", or say --insecure", "%q can be reached by others, who could %s without a password", addr, harm)
	}
	return nil
}

// validate checks the shared settings, and sets defaults that depend on others.
func (c *Config) validate() error {
	if err := c.checkListen(); err != nil {
		return err
	}
	if err := c.CheckOpen("broker_listen", c.BrokerListen, "read and change everything in the log", "listen on 127.0.0.1, or use Kafka with its own passwords"); err != nil {
		return err
	}
	if err := checkConnect(c.BrokerListen); err != "" { // clients go there too
		return c.Errorf("broker_listen", "want the port that clients go to, as 127.0.0.1:9092", "%q: %s", c.BrokerListen, err)
	}
	for i, b := range c.Brokers {
		if err := checkConnect(b); err != "" {
			return c.Errorf(c.Element("brokers", i), "want host:port, as kafka:9092", "%q: %s", b, err)
		}
	}
	if err := (schemas.Names{Prefix: c.TopicPrefix}).Validate(); err != nil {
		return c.Errorf("topic_prefix", "", "%v", err)
	}
	if c.Embedded() && c.Topics.Replicas > 1 {
		return c.Errorf("topics.replicas", "leave it out, or set brokers", "%d: the embedded broker keeps one copy", c.Topics.Replicas)
	}
	if c.Data == "" {
		return c.Errorf("data", "name a directory", "it is empty")
	}
	if c.SecretsDir == "" {
		c.SecretsDir = filepath.Join(c.Data, "secrets")
	}
	if err := c.validateKafka(); err != nil {
		return err
	}
	if err := c.validateAccess(); err != nil {
		return err
	}
	if err := c.validateName(); err != nil {
		return err
	}
	if err := c.validateProcessors(); err != nil {
		return err
	}
	return c.validateCameras()
}

// validateKafka checks that what belongs together is set together. No error shows the
// password.
func (c *Config) validateKafka() error {
	sasl, tls := c.Kafka.SASL, c.Kafka.TLS
	given := func(keys ...string) string { // the first key that is set
		for _, k := range keys {
			if c.origin[k] != "" {
				return k
			}
		}
		return keys[0]
	}
	switch {
	case c.Embedded() && (sasl != SASL{} || tls != TLS{}):
		return c.Errorf(given("kafka", "kafka.sasl.mechanism", "kafka.sasl.user", "kafka.sasl.password", "kafka.tls.enabled"), "name brokers of your own in brokers, or remove it",
			"the embedded broker has neither users nor TLS")
	case sasl.Mechanism == "" && sasl != SASL{}:
		return c.Errorf(given("kafka.sasl.user", "kafka.sasl.password"), "set kafka.sasl.mechanism", "it has no effect without a mechanism")
	case sasl.Mechanism != "" && sasl.User == "":
		return c.Errorf("kafka.sasl.user", "name the user that this process is for the brokers", "it is empty")
	case sasl.Mechanism != "" && sasl.Password == "":
		return c.Errorf("kafka.sasl.password", "want ${FRAMELOG_SECRET_X}, ${file:NAME} or the password itself", "it is empty")
	case secrets.CheckText(sasl.Password) != nil:
		return c.Errorf("kafka.sasl.password", "", "%v", secrets.CheckText(sasl.Password))
	case !tls.Enabled && tls != TLS{}:
		return c.Errorf(given("kafka.tls.ca", "kafka.tls.cert", "kafka.tls.key", "kafka.tls.server_name"), "set kafka.tls.enabled: true, or remove it", "it has no effect without TLS")
	case tls.Cert != "" && tls.Key == "":
		return c.Errorf("kafka.tls.key", "name the file with the key of kafka.tls.cert", "it is empty")
	case tls.Cert == "" && tls.Key != "":
		return c.Errorf("kafka.tls.cert", "name the file with the certificate of kafka.tls.key", "it is empty")
	}
	return nil
}

// checkListen checks the address of the page. With access it may be any.
func (c *Config) checkListen() error {
	d := *c
	d.Insecure = d.Insecure || d.Access.Enabled
	return d.CheckOpen("listen", c.Listen, "see all cameras, add and remove them", "say access.enabled: true (people then sign in, see docs/access.md), or listen on 127.0.0.1")
}

// fileName matches the names that a configuration file may have in the
// registry.
var fileName = regexp.MustCompile(`^[\pL\pN][\pL\pN ._-]{0,62}$`)

// validateName checks the name that the file gives itself, or makes one of its
// path.
func (c *Config) validateName() error {
	c.named = c.Name != ""
	switch {
	case c.named && !fileName.MatchString(c.Name):
		return c.Errorf("name", "want up to 63 letters, digits and any of \" ._-\", beginning with a letter or a digit, as office", "%q is no name", c.Name)
	case c.named || c.Path == "":
		return nil
	}
	base := filepath.Base(c.Path)
	base = strings.TrimLeft(unnamed.ReplaceAllString(strings.TrimSuffix(base, filepath.Ext(base)), "-"), " ._-")
	runes := []rune(base)
	c.Name = cmp.Or(string(runes[:min(len(runes), 63)]), "framelog")
	return nil
}

// unnamed matches the characters that fileName does not allow.
var unnamed = regexp.MustCompile(`[^\pL\pN ._-]`)

// Named reports whether the file has the key name.
func (c *Config) Named() bool { return c.named }

// Element is the key of one value of a list. If the list was set as a whole, as
// by a variable, the place of the value is that of the list.
func (c *Config) Element(list string, i int) string {
	key := list + "[" + strconv.Itoa(i) + "]"
	if c.origin[key] == "" {
		c.origin[key] = c.origin[list]
	}
	return key
}

func (c *Config) validateCameras() error {
	first := make(map[string]string)
	for i, cam := range c.Cameras {
		key := "cameras[" + strconv.Itoa(i) + "]"
		at := func(field, remedy, format string, args ...any) error {
			err := c.Errorf(key+"."+field, remedy, format, args...).(*Error) //nolint:errorlint // made just now
			if err.Where == "" {
				err.Where = cam.Origin
			}
			return err
		}
		switch {
		case cam.ID == "":
			return at("id", "give it one, as front-door", "a camera needs an id")
		case schemas.ValidateCameraID(cam.ID) != nil:
			return at("id", "want 1 to 63 of a-z, 0-9 and -, not beginning with -, and not events; label takes any text", "%q is no id", cam.ID)
		case first[cam.ID] != "":
			return at("id", "give one of them another", "%q is the id of the camera at %s too", cam.ID, first[cam.ID])
		case cam.URL == "":
			return at("url", "give it one, as rtsp://10.0.0.5/stream1", "a camera needs a url")
		}
		first[cam.ID] = cam.Origin
		if _, _, err := cam.split(); err != nil {
			field, what, _ := strings.Cut(err.Error(), ": ")
			return at(field, "", "%s", what)
		}
	}
	return nil
}

// split returns the camera as a record, and the plain passwords in its URLs.
func (c Camera) split() (cam schemas.Camera, typed []secrets.Typed, err error) {
	cam = schemas.Camera{
		ID: c.ID, Label: c.Label, URL: c.URL, Substream: c.Substream, Transport: c.Transport, InsecureTLS: c.InsecureTLS,
		NoAudio: c.NoAudio, Disabled: c.Disabled, Source: schemas.SourceFile,
		Engine: c.Engine, ChunkMS: uint16(time.Duration(c.Chunk).Milliseconds()),
	}
	typed, err = secrets.Split(&cam, schemas.Camera{})
	return cam, typed, err
}

// Records returns the cameras of the file as records with NAME:LINE as their
// origin. Call TakePasswords first.
func (c *Config) Records() []schemas.Camera {
	all := make([]schemas.Camera, len(c.Cameras))
	for i, cam := range c.Cameras {
		all[i], _, _ = cam.split() // validate has checked it
		all[i].Origin = c.Name + cam.Origin[max(strings.LastIndexByte(cam.Origin, ':'), 0):]
	}
	return all
}

// TakePasswords replaces each plain password in the cameras' URLs with
// ${file:<id>}, and calls store with the stream's record and the password. With a
// nil store a plain password is an error.
func (c *Config) TakePasswords(store func(cam schemas.Camera, password string) error) error {
	for i := range c.Cameras {
		cam, typed, err := c.Cameras[i].split()
		if err != nil || len(typed) == 0 {
			continue // validate has checked it
		}
		for _, t := range typed {
			key := "cameras[" + strconv.Itoa(i) + "].url"
			if t.For.URL != cam.URL {
				key = "cameras[" + strconv.Itoa(i) + "].substream"
			}
			if store == nil {
				return c.Errorf(key, "put it into the environment variable FRAMELOG_SECRET_X of ingest, or a file NAME in its secrets_dir, and write ${FRAMELOG_SECRET_X} or ${file:NAME} in its place",
					"a plain password would be stored in Kafka")
			}
			if err := store(t.For, t.Password); errors.Is(err, secrets.ErrHandMade) {
				return c.Errorf(key, "remove that file, or write ${file:"+cam.ID+"} in place of the password",
					"its password would be kept in the file %s of secrets_dir, and there is one that Framelog did not write", cam.ID)
			} else if err != nil {
				return err
			}
		}
		c.Cameras[i].URL = secrets.Join(cam)
		if sub, ok := cam.Sub(); ok {
			c.Cameras[i].Substream = secrets.Join(sub)
		}
	}
	return nil
}

// Loopback reports whether only this machine can reach an address.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// checkConnect is checkAddress for an address that clients connect to.
func checkConnect(addr string) string {
	if err := checkAddress(addr); err != "" {
		return err
	}
	if _, port, _ := net.SplitHostPort(addr); strings.Trim(port, "0") == "" {
		return "nobody can connect to port 0"
	}
	return ""
}

// checkAddress returns what is wrong with an address; "" if nothing is.
func checkAddress(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "no address"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "port " + strconv.Quote(port) + " is no number from 0 to 65535"
	}
	return ""
}
