// The light build of hls.js is the same API without what needs subtitles,
// alternative audio or encryption.
declare module 'hls.js/light' {
  export * from 'hls.js';
  export { default } from 'hls.js';
}
