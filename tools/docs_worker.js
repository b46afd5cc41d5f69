// Browsers start no worker from a folder (file:), and searching wants one: a hidden frame does its work.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      const load = (source) =>
        new Promise((done, failed) => {
          const script = frame.contentDocument.createElement("script");
          Object.assign(script, { src: source, onload: done, onerror: failed });
          frame.contentDocument.body.append(script);
        });
      this.ready = new Promise((done) => (frame.onload = done)).then(() => {
        const inside = frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inside.importScripts = (...urls) =>
          urls.reduce((before, one) => before.then(() => load(one)), Promise.resolve());
        this.send = (data) => inside.dispatchEvent(new MessageEvent("message", { data }));
        return load(new URL(url, location));
      });
      frame.hidden = true;
      frame.srcdoc = "<!doctype html>";
      document.body.append(frame);
    }
    postMessage(data) {
      this.ready.then(() => this.send(data));
    }
  };
