//go:build tools

// Keeps the module requirements that packages under way will import.
package framelog

import (
	_ "github.com/Eyevinn/mp4ff/mp4"
	_ "github.com/alecthomas/kong"
	_ "github.com/bluenviron/gortsplib/v5"
	_ "github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	_ "github.com/go-gst/go-gst/gst"
	_ "github.com/go-gst/go-gst/gst/app"
	_ "github.com/goccy/go-yaml"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/prometheus/client_golang/prometheus/testutil/promlint"
	_ "github.com/prometheus/common/expfmt"
	_ "github.com/twmb/franz-go/pkg/kadm"
	_ "github.com/twmb/franz-go/pkg/kfake"
	_ "github.com/twmb/franz-go/pkg/kgo"
	_ "github.com/twmb/franz-go/plugin/kprom"
	_ "github.com/vmihailenco/msgpack/v5"
	_ "golang.org/x/sys/unix"
)
