// Says, for the chosen motive, whether a reference or a sentence is needed. The server decides; this only helps.

const form = document.querySelector("[data-motive-form]");

function need(name) {
  return form.querySelector(`[data-need="${name}"]`);
}

function follow(choice) {
  const reference = choice.dataset.reference === "1";
  const text = Number(choice.dataset.minText);
  form.elements.reference.required = reference;
  form.elements.text.required = text > 0;
  if (text > 0) form.elements.text.minLength = text;
  else form.elements.text.removeAttribute("minlength");
  need("reference").textContent = reference ? "obligatoire pour ce motif" : "facultative";
  need("text").textContent = text > 0 ? `obligatoire, ${text} caractères au moins` : "facultative";
}

if (form) {
  form.addEventListener("change", (event) => {
    if (event.target.name === "motive") follow(event.target);
  });
  const chosen = form.querySelector('[name="motive"]:checked');
  if (chosen) follow(chosen);
}
