package codectest

import (
	"encoding/hex"

	"github.com/Eyevinn/mp4ff/hevc"
)

// H265Config is the decoder configuration (the body of hvcC) of an H.265
// stream of 64x64 at 30 pictures a second, that reorders by up to 2.
func H265Config() []byte {
	// Made by x265 of a test picture.
	vps, sps, pps := unhex("40010c01ffff0408000003009e0800000300001e959809"),
		unhex("4201010408000003009e0800000300001e90041020b2cacd24995e02dc08080010000003001000000301e080"),
		unhex("4401c172860c4224")
	r, err := hevc.CreateHEVCDecConfRec([][]byte{vps}, [][]byte{sps}, [][]byte{pps}, true, true, true, true)
	if err != nil {
		panic(err)
	}
	return encode(&r)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
