// Starts Swagger UI with the description of this instance, and adds to each call its
// samples (`x-codeSamples`), with this instance's address.

const EXAMPLE = "https://api.example.com";

// The chosen language holds for all calls.
let language;
const watchers = new Set();
const subscribe = (watcher) => {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
};
const choose = (name) => {
  language = name;
  for (const watcher of watchers) watcher();
};

/** @param {{ React: typeof import("react") }} system */
function samplesOf({ React }) {
  const { createElement: tag, useState, useSyncExternalStore } = React;

  function Sample({ label, source }) {
    const [said, say] = useState("Copy");
    const text = source.trimEnd().replaceAll(EXAMPLE, location.origin);
    const copy = () => navigator.clipboard.writeText(text).then(() => say("Copied"), () => say("Not copied"));
    return tag("figure", null,
      tag("figcaption", null, label,
        // Browsers offer the clipboard over https and on this machine only.
        navigator.clipboard && tag("button", { type: "button", onClick: copy, "aria-live": "polite" }, said)),
      tag("pre", { tabIndex: 0, role: "region", "aria-label": label }, tag("code", null, text)));
  }

  function Samples({ samples }) {
    const languages = [...new Set(samples.map((sample) => sample.lang))];
    const chosen = useSyncExternalStore(subscribe, () => language) ?? languages[0];
    return tag("section", { className: "samples", "aria-label": "Samples" },
      tag("h4", null, "Samples"),
      tag("div", { role: "group", "aria-label": "Language" }, languages.map((name) =>
        tag("button", { key: name, type: "button", "aria-pressed": name === chosen, onClick: () => choose(name) }, name))),
      samples.filter((sample) => sample.lang === chosen).map((sample) =>
        tag(Sample, { key: sample.label, ...sample })));
  }

  // Before the responses of a call.
  const responses = (Responses, { specSelectors }) => function WithSamples(props) {
    const found = specSelectors.specJson().getIn(["paths", props.path, props.method, "x-codeSamples"]);
    return tag(React.Fragment, null, found && tag(Samples, { samples: found.toJS() }), tag(Responses, props));
  };
  return { wrapComponents: { responses } };
}

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  tryItOutEnabled: true,
  // The badge of a public validator would disclose this deployment.
  validatorUrl: "none",
  plugins: [samplesOf],
});
