"use strict";
// Classify webcam frames one after the other, always the newest.

/** A running webcam, displayed in `video`. */
class Camera {
  /** Start a camera, by its id where given. Throws a Problem with the reason if there is no image. */
  static async start(video, id = "") {
    if (!navigator.mediaDevices?.getUserMedia) throw new Problem(say("insecure"));
    const wanted = id ? { deviceId: { exact: id } } : { facingMode: "environment" };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { ...wanted, width: { ideal: 1280 } } });
      video.srcObject = stream;
      await video.play();
      return new Camera(video, stream);
    } catch (error) {
      console.debug(error);
      throw new Problem(say(Camera.reasons[error.name] ?? "cameraBusy"));
    }
  }

  static reasons = {
    NotFoundError: "noCamera", OverconstrainedError: "noCamera",
    NotAllowedError: "refused", SecurityError: "refused",
  };

  constructor(video, stream) {
    this.video = video;
    this.stream = stream;
    this.on = true;
  }

  get id() {
    return this.stream.getVideoTracks()[0].getSettings().deviceId ?? "";
  }

  /** Return the ids and names of the webcams; browsers reveal names once a camera is in use. */
  static async all() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((one) => one.kind === "videoinput");
  }

  /** Call `each()` for every frame until the camera is stopped. */
  async watch(each) {
    while (this.on) {
      await this.#next();
      if (this.on && this.video.videoWidth) await each();
    }
  }

  #next() {
    if (this.video.requestVideoFrameCallback) return new Promise((seen) => this.video.requestVideoFrameCallback(seen));
    return new Promise((seen) => requestAnimationFrame(seen));
  }

  /** Return the current frame as a PNG. */
  picture() {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    return new Promise((made) => canvas.toBlob(made, "image/png"));
  }

  stop() {
    this.on = false;
    for (const track of this.stream.getTracks()) track.stop();
    this.video.srcObject = null;
  }
}

/** Durations of the last repetitions in milliseconds, and their number. */
class Pace {
  constructor(most = 30) {
    this.most = most;
    this.rows = [];
  }

  add(prepare, invoke) {
    this.rows.push({ prepare, invoke, at: performance.now() });
    if (this.rows.length > this.most) this.rows.shift();
  }

  median(name) {
    const sorted = this.rows.map((row) => row[name]).sort((one, other) => one - other);
    return sorted[sorted.length >> 1] ?? 0;
  }

  /** Frames per second. */
  get rate() {
    if (this.rows.length < 2) return 0;
    return (1000 * (this.rows.length - 1)) / (this.rows.at(-1).at - this.rows[0].at);
  }
}
