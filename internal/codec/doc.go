// Package codec reads the properties of encoded media that the rest of Framelog
// needs: where a decoder can start, the content of a decoder configuration, the
// duration of an audio frame, the name of a codec in a playlist. It decodes no
// media. Its input comes from outside, so it panics for no input.
package codec
