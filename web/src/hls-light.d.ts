// The light build of hls.js has the same API. It has no subtitles, no alternative
// audio and no encryption.
declare module 'hls.js/light' {
  export * from 'hls.js';
  export { default } from 'hls.js';
}
