/** Names for services and containers whose users gave none: `quiet_lovelace`. */
import type { Random } from '../base/random.ts';

const ADJECTIVES =
  'able bold brave bright brisk busy calm clever cosy deft eager early fair fleet fond frank gentle glad grand happy hardy honest humble jolly keen kind lively loyal lucky mellow merry mild modest neat nimble noble patient plain proud quick quiet ready rapid sharp silent sober steady subtle sunny swift tender tidy vivid warm wise witty young zealous';
const SURNAMES =
  'agnesi babbage banneker bell boole bose carson cerf chandrasekhar cori curie dijkstra euclid euler faraday fermat franklin gauss germain goldberg goodall hamilton hawking hodgkin hopper hypatia jackson johnson kalam keller kepler khorana knuth kowalevski lalande lamarr lamport leavitt liskov lovelace maxwell meitner mendel mirzakhani morse newton noether pasteur perlman ramanujan ride ritchie shannon sinoussi snyder stonebraker swirles thompson torvalds turing villani wescoff wing wozniak yalow';

export function randomName(random: Random): string {
  const adjectives = ADJECTIVES.split(' ');
  const surnames = SURNAMES.split(' ');
  return `${adjectives[random.below(adjectives.length)]}_${surnames[random.below(surnames.length)]}`;
}
