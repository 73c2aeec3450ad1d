"use strict";
// Shows the sentences with a mistake of the chosen class and type, the first of them until all are asked for.
const FIRST = 20;
const kind = document.getElementById("kind");
const type = document.getElementById("type");
if (kind && type) {
  const cases = [...document.querySelectorAll("article")].map((element) => ({
    element,
    mistakes: JSON.parse(element.dataset.mistakes),
  }));
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  let limit = FIRST;
  const choose = () => {
    let fitting = 0;
    for (const { element, mistakes } of cases) {
      const fits = mistakes.some(
        ([name, types]) => (!kind.value || name === kind.value) && (!type.value || types.includes(type.value)),
      );
      fitting += fits;
      element.hidden = !fits || fitting > limit;
    }
    const shown = Math.min(fitting, limit);
    const all = fitting.toLocaleString("en");
    count.textContent = shown === fitting ? `${all} shown` : `${shown} of ${all} shown`;
    more.hidden = shown === fitting;
    more.textContent = `Show all ${all}`;
  };
  kind.addEventListener("change", choose);
  type.addEventListener("change", choose);
  more.addEventListener("click", () => {
    limit = Infinity;
    choose();
  });
  choose(); // a browser may keep what was chosen before
}
// What is folded is printed too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => (fold.open = true)));
