// Package codec knows the facts about encoded media that the rest of Framelog
// needs and no more: where a decoder can start, what a decoder configuration
// says, how long a frame of audio is, what a codec is called in a playlist.
// It decodes nothing. Everything here reads outside input: nothing panics,
// whatever the bytes are.
package codec
