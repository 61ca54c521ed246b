import { describe, expect, it } from "vitest";
import { problemOf } from "../src/api/problem";
import { areaWords, bytesWords, phrasesIn, placeWords, plural } from "../src/words";

describe("numbers in words", () => {
  it("chooses the unit of an area", () => {
    expect(areaWords(12.345, "m2")).toBe("12.3 m²");
    expect(areaWords(4321, "m2")).toBe("4,321 m²");
    expect(areaWords(54_321, "m2")).toBe("5.43 ha");
    expect(areaWords(2_500_000, "m2")).toBe("2.5 km²");
    expect(areaWords(15_342, "px")).toBe("15,342 px");
  });

  it("says sizes, numbers and places", () => {
    expect(bytesWords(209_715_200)).toBe("210 MB");
    expect(plural(1, "object")).toBe("1 object");
    expect(plural(1200, "object")).toBe("1,200 objects");
    expect(placeWords([-43.2, -22.9])).toBe("22.90000° S, 43.20000° W");
  });
});

it("parts several phrases", () => {
  expect(phrasesIn(" all ships ;the  bridge;; all ships\n")).toEqual(["all ships", "the bridge"]);
});

describe("problems", () => {
  it("shows the server's own words", () => {
    const problem = problemOf(413, JSON.stringify({ title: "Too Many Pixels", detail: "Reduce it." }), null);
    expect([problem.message, problem.status]).toEqual(["Reduce it.", 413]);
  });

  it("has words where the server has none, and knows when to come back", () => {
    expect(problemOf(400, '{"detail": "the image is empty"}').message).toBe("The image is empty");
    expect(problemOf(400, '{"detail": "cars.tif is damaged"}').message).toBe("cars.tif is damaged");
    expect(problemOf(503, "<html>", "3")).toMatchObject({ message: "The server is busy.", retryAfter: 3 });
    expect(problemOf(418, "", "soon")).toMatchObject({
      message: "The server answered with error 418.",
      retryAfter: null,
    });
  });
});
