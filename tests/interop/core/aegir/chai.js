// What interface-ipfs-core takes from `aegir/chai`: chai with the same plugins in the same order.
// The whole of aegir is a build system of a thousand packages.

import chai from 'chai'
import chaiAsPromised from 'chai-as-promised'
import chaiBites from 'chai-bites'
import chaiParentheses from 'chai-parentheses'
import chaiString from 'chai-string'
import chaiSubset from 'chai-subset'

// The order counts: a plugin wraps what the ones before it made.
for (const plugin of [chaiAsPromised, chaiParentheses, chaiSubset, chaiBites, chaiString]) {
  chai.use(plugin)
}

export const expect = chai.expect
export const assert = chai.assert
export { chai }
