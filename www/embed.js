// Tells the page around this widget how tall it is, so that no bar appears
// inside a bar.
if (window.parent !== window) {
  const tell = () => {
    const height = Math.ceil(document.documentElement.getBoundingClientRect().height);
    window.parent.postMessage({ type: "huggingtweets:resize", height }, "*");
  };
  new ResizeObserver(tell).observe(document.documentElement);
}
