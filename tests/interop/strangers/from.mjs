// Lets a script of the checkout import the packages that lie in another folder:
//
//     HOLDFAST_MODULES=FOLDER node --import ./from.mjs script.mjs
//
// A name that is found nowhere near the script is looked up as if FOLDER's own files had asked.

import { register } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const parent = pathToFileURL(join(process.env.HOLDFAST_MODULES, 'script.mjs')).href
const hook = `
  let parent
  export function initialize (data) { parent = data }
  export async function resolve (name, context, next) {
    const bare = !/^([./]|[a-z]+:)/.test(name)
    if (!bare) return await next(name, context)
    try {
      return await next(name, context)
    } catch (error) {
      if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
      return await next(name, { ...context, parentURL: parent })
    }
  }`
register(`data:text/javascript,${encodeURIComponent(hook)}`, import.meta.url, { data: parent })
