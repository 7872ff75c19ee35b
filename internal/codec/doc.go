// Package codec reads the facts about encoded media that the rest of Framelog needs:
// where a decoder can start, what a decoder configuration says, how long a frame of
// audio is, what a codec is called in a playlist. It decodes no media. Its input
// comes from outside, so nothing panics, whatever the bytes are.
package codec
