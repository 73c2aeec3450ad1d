"use strict";
// Shows the sentences with a mistake of the chosen class and type.
const kind = document.getElementById("kind");
const type = document.getElementById("type");
if (kind && type) {
  const cases = [...document.querySelectorAll("article")].map((element) => ({
    element,
    mistakes: JSON.parse(element.dataset.mistakes),
  }));
  const count = document.getElementById("count");
  const choose = () => {
    let shown = 0;
    for (const { element, mistakes } of cases) {
      const fits = mistakes.some(
        ([name, types]) => (!kind.value || name === kind.value) && (!type.value || types.includes(type.value)),
      );
      element.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown.toLocaleString("en")} shown`;
  };
  kind.addEventListener("change", choose);
  type.addEventListener("change", choose);
  choose(); // a browser may keep what was chosen before
}
