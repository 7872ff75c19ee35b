// Package processors is for programs that do something with every camera's video.
//
// A processor is a function that gets one fragment and gives outputs, as an HTTP
// handler gets a request and gives a response. A file with this main is a processor:
//
//	func main() { processors.Main("bitrate", bitrate) }
//
//	func bitrate(ctx context.Context, in *processors.Fragment, out *processors.Output) error { … }
//
// Several processes of one processor share the cameras. Each output is a rendition of
// its camera in the log, and its index is the checkpoint: each fragment gets exactly one
// entry there, whatever crashes. A function that fails is called again, and after some
// attempts the fragment goes into the dead letters.
//
// The function sees one fragment, and must not remember anything of it: fragments come
// in any order, at the same time, in any process, and again.
//
// Package processors/video has the pictures of a fragment.
package processors
